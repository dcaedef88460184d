# Who the collector is, and the least it has to be allowed.

resource "azurerm_user_assigned_identity" "this" {
  name                = var.name
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

# Receives, renews (a write), deletes, and moves to the poison queue: on these queues, not on the
# account, so what else is kept there is not its business.
resource "azurerm_role_assignment" "queues" {
  for_each = azurerm_storage_queue.this

  scope                = "${azurerm_storage_account.this.id}/queueServices/default/queues/${each.value.name}"
  role_definition_name = "Storage Queue Data Contributor"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "reader" {
  for_each = var.reader_scopes

  scope                = each.value
  role_definition_name = "Reader"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "vault" {
  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
  principal_type       = "ServicePrincipal"
}

# Those who send may add messages, and neither read nor delete.
resource "azurerm_role_assignment" "senders" {
  for_each = {
    for pair in setproduct(keys(var.sender_principal_ids), var.queue_names) :
    "${pair[0]}/${pair[1]}" => { principal_id = var.sender_principal_ids[pair[0]], queue = pair[1] }
  }

  scope                = "${azurerm_storage_account.this.id}/queueServices/default/queues/${azurerm_storage_queue.this[each.value.queue].name}"
  role_definition_name = "Storage Queue Data Message Sender"
  principal_id         = each.value.principal_id
}

# A pod of exactly this service account is this identity.
resource "azurerm_federated_identity_credential" "collector" {
  count = var.kubernetes == null ? 0 : 1

  name                = "${var.name}-pods"
  resource_group_name = var.resource_group_name
  parent_id           = azurerm_user_assigned_identity.this.id
  audience            = ["api://AzureADTokenExchange"]
  issuer              = var.kubernetes.oidc_issuer_url
  subject             = "system:serviceaccount:${var.kubernetes.namespace}:${var.kubernetes.service_account}"
}

# KEDA's operator asks the queue's length as this identity (TriggerAuthentication's identityId).
resource "azurerm_federated_identity_credential" "keda" {
  count = var.kubernetes == null ? 0 : 1

  name                = "${var.name}-keda"
  resource_group_name = var.resource_group_name
  parent_id           = azurerm_user_assigned_identity.this.id
  audience            = ["api://AzureADTokenExchange"]
  issuer              = var.kubernetes.oidc_issuer_url
  subject             = "system:serviceaccount:${var.kubernetes.keda_namespace}:${var.kubernetes.keda_service_account}"

  # Azure refuses two changes of one identity's credentials at a time.
  depends_on = [azurerm_federated_identity_credential.collector]
}
