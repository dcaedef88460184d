# What each role has to be allowed; azure-collector test-snowflake tries each of them for the loader.

locals {
  schema  = snowflake_schema.this.fully_qualified_name
  members = toset([snowflake_account_role.loader.name, snowflake_account_role.owner.name])
  readers = var.reader_roles

  # RESOURCES and REJECTED_ROWS are only added to; UPDATE is for REQUESTS, where a later outcome
  # takes the place of one that was not complete. A grant on future tables cannot name one.
  load_privileges = concat(["SELECT", "INSERT", "UPDATE"], var.retention ? ["DELETE"] : [])
}

resource "snowflake_grant_privileges_to_account_role" "database" {
  for_each = setunion(local.members, local.readers)

  account_role_name = each.value
  privileges        = ["USAGE"]

  on_account_object {
    object_type = "DATABASE"
    object_name = snowflake_database.this.name
  }
}

resource "snowflake_grant_privileges_to_account_role" "warehouse" {
  for_each = local.members

  account_role_name = each.value
  privileges        = ["USAGE"]

  on_account_object {
    object_type = "WAREHOUSE"
    object_name = snowflake_warehouse.this.name
  }
}

# CREATE TABLE and CREATE STAGE are for the temporary ones that write_pandas goes through.
resource "snowflake_grant_privileges_to_account_role" "loader_schema" {
  account_role_name = snowflake_account_role.loader.name
  privileges        = ["USAGE", "CREATE TABLE", "CREATE STAGE"]

  on_schema {
    schema_name = local.schema
  }
}

resource "snowflake_grant_privileges_to_account_role" "owner_schema" {
  account_role_name = snowflake_account_role.owner.name
  privileges        = ["USAGE", "CREATE TABLE", "CREATE VIEW"]

  on_schema {
    schema_name = local.schema
  }
}

# Future: the tables are made by init-snowflake, after this, with the owner's role.
resource "snowflake_grant_privileges_to_account_role" "loader_tables" {
  account_role_name = snowflake_account_role.loader.name
  privileges        = local.load_privileges

  on_schema_object {
    future {
      object_type_plural = "TABLES"
      in_schema          = local.schema
    }
  }
}

resource "snowflake_grant_privileges_to_account_role" "reader_schema" {
  for_each = local.readers

  account_role_name = each.value
  privileges        = ["USAGE"]

  on_schema {
    schema_name = local.schema
  }
}

resource "snowflake_grant_privileges_to_account_role" "reader_objects" {
  for_each = {
    for pair in setproduct(local.readers, ["TABLES", "VIEWS"]) : "${pair[0]}/${pair[1]}" => pair
  }

  account_role_name = each.value[0]
  privileges        = ["SELECT"]

  on_schema_object {
    future {
      object_type_plural = each.value[1]
      in_schema          = local.schema
    }
  }
}
