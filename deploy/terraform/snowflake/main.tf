resource "snowflake_database" "this" {
  name                           = var.database
  comment                        = "azure-collector"
  data_retention_time_in_days    = var.data_retention_days
  drop_public_schema_on_creation = true
}

resource "snowflake_schema" "this" {
  database = snowflake_database.this.name
  name     = var.schema
  comment  = "azure-collector: what Azure answered"
  # Whoever owns a table does not decide who reads it.
  with_managed_access = "true"
}

resource "snowflake_warehouse" "this" {
  name                = var.warehouse
  comment             = "azure-collector: COPY and MERGE"
  warehouse_size      = var.warehouse_size
  auto_suspend        = 60
  auto_resume         = "true"
  initially_suspended = true
  # A statement that takes longer than an hour is stuck.
  statement_timeout_in_seconds = 3600
}

resource "snowflake_account_role" "loader" {
  name    = var.role
  comment = "azure-collector: loads"
}

resource "snowflake_account_role" "owner" {
  name    = var.owner_role
  comment = "azure-collector: owns the tables; for azure-collector init-snowflake"
}

resource "snowflake_service_user" "this" {
  name             = var.user
  comment          = "azure-collector"
  rsa_public_key   = var.rsa_public_key
  rsa_public_key_2 = var.rsa_public_key_2
  network_policy   = var.network_policy

  default_role                   = snowflake_account_role.loader.name
  default_warehouse              = snowflake_warehouse.this.name
  default_namespace              = "${snowflake_database.this.name}.${snowflake_schema.this.name}"
  default_secondary_roles_option = "NONE"
}

resource "snowflake_grant_account_role" "loader_to_user" {
  role_name = snowflake_account_role.loader.name
  user_name = snowflake_service_user.this.name
}

resource "snowflake_grant_account_role" "owner_to_user" {
  count = var.owner_user == null ? 0 : 1

  role_name = snowflake_account_role.owner.name
  user_name = var.owner_user
}

# What nobody above owns, nobody can mend.
resource "snowflake_grant_account_role" "to_sysadmin" {
  for_each = toset([snowflake_account_role.loader.name, snowflake_account_role.owner.name])

  role_name        = each.value
  parent_role_name = "SYSADMIN"
}
