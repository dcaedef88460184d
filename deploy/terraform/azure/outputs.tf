locals {
  settings = {
    AZURE_QUEUE_NAME        = join(",", var.queue_names)
    AZURE_QUEUE_ACCOUNT_URL = trimsuffix(azurerm_storage_account.this.primary_queue_endpoint, "/")
    AZURE_KEYVAULT_URL      = trimsuffix(azurerm_key_vault.this.vault_uri, "/")
    AZURE_CREDENTIAL        = "managed-identity"
    AZURE_CLIENT_ID         = azurerm_user_assigned_identity.this.client_id
    AZURE_TENANT_ID         = var.tenant_id
  }
}

output "settings" {
  description = "The collector's settings that say where Azure is, for a machine or container app with the identity. None is a secret."
  value       = local.settings
}

output "kubernetes_settings" {
  description = "The same for the ConfigMap: in a pod the webhook sets client and tenant."
  value = merge(
    { for name, value in local.settings : name => value if !contains(["AZURE_CLIENT_ID", "AZURE_TENANT_ID"], name) },
    { AZURE_CREDENTIAL = "workload-identity" }
  )
}

output "identity_client_id" {
  description = "For the annotation of the service account, and identityId of KEDA's TriggerAuthentication."
  value       = azurerm_user_assigned_identity.this.client_id
}

output "identity_id" {
  description = "Resource id of the identity, to give it to a virtual machine."
  value       = azurerm_user_assigned_identity.this.id
}

output "identity_principal_id" {
  description = "Object id of the identity, for roles that are given elsewhere."
  value       = azurerm_user_assigned_identity.this.principal_id
}

output "storage_account_name" {
  description = "accountName of KEDA's trigger."
  value       = azurerm_storage_account.this.name
}

output "key_vault_name" {
  description = "Where to put the secrets that settings name as kv:NAME."
  value       = azurerm_key_vault.this.name
}
