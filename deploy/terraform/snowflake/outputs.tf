output "settings" {
  description = "The collector's settings that say where Snowflake is. SNOWFLAKE_PRIVATE_KEY names the secret in the vault."
  value = {
    SNOWFLAKE_ACCOUNT       = var.account
    SNOWFLAKE_USER          = snowflake_service_user.this.name
    SNOWFLAKE_ROLE          = snowflake_account_role.loader.name
    SNOWFLAKE_WAREHOUSE     = snowflake_warehouse.this.name
    SNOWFLAKE_DATABASE      = snowflake_database.this.name
    SNOWFLAKE_SCHEMA        = snowflake_schema.this.name
    SNOWFLAKE_AUTHENTICATOR = "key_pair"
    SNOWFLAKE_PRIVATE_KEY   = "kv:collector-snowflake-key"
  }
}

output "owner_role" {
  description = "SNOWFLAKE_ROLE for azure-collector init-snowflake."
  value       = snowflake_account_role.owner.name
}
