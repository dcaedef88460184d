resource "azurerm_storage_account" "this" {
  name                = "${replace(var.name, "-", "")}${var.suffix}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags

  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = var.replication

  # Whoever comes proves who it is: no key that opens everything.
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  local_user_enabled                = false
  https_traffic_only_enabled        = true
  min_tls_version                   = "TLS1_2"
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true

  network_rules {
    default_action             = length(var.allowed_subnet_ids) == 0 ? "Allow" : "Deny"
    bypass                     = ["AzureServices"]
    virtual_network_subnet_ids = var.allowed_subnet_ids
  }
}

locals {
  poison_queue_names = [for name in var.queue_names : "${name}-poison"]
  all_queue_names    = toset(concat(var.queue_names, local.poison_queue_names))
}

resource "azurerm_storage_queue" "this" {
  for_each = local.all_queue_names

  name               = each.value
  storage_account_id = azurerm_storage_account.this.id
}
