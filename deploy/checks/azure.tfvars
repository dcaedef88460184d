# Values that the module has to take; deploy/check plans its variables with them.
suffix                       = "prod1"
resource_group_name          = "azure-collector"
location                     = "westeurope"
tenant_id                    = "00000000-0000-0000-0000-000000000000"
queue_names                  = ["urgent", "collector"]
reader_scopes                = ["/providers/Microsoft.Management/managementGroups/all"]
sender_principal_ids         = { inventory = "00000000-0000-0000-0000-000000000000" }
secret_officer_principal_ids = {}
kubernetes                   = { oidc_issuer_url = "https://westeurope.oic.prod-aks.azure.com/id/" }
container_app = {
  environment_id = "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.App/managedEnvironments/NAME"
  image          = "registry.example.com/azure-collector:0.1.0"
  settings       = { SNOWFLAKE_USER = "COLLECTOR", SNOWFLAKE_PRIVATE_KEY = "kv:collector-snowflake-key" }
}
