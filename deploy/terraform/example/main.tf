# Both modules together. Copy it, with a backend of one's own: the state names everything there is.

terraform {
  required_version = ">= 1.9.0, < 2.0.0"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.70.0, < 5.0.0"
    }
    snowflake = {
      source  = "snowflakedb/snowflake"
      version = ">= 2.11.0, < 3.0.0"
    }
  }
}

provider "azurerm" {
  subscription_id = var.subscription_id
  # The account has no keys.
  storage_use_azuread = true
  features {}
}

# A role that may make databases, roles, users and grants; how it logs in is in its environment.
provider "snowflake" {
  role = "ACCOUNTADMIN"
}

variable "subscription_id" {
  description = "Where the collector's own resources are."
  type        = string
}

variable "tenant_id" {
  description = "Tenant of that subscription."
  type        = string
}

variable "management_group" {
  description = "Management group that is collected."
  type        = string
}

variable "snowflake_account" {
  description = "ORGANISATION-ACCOUNT."
  type        = string
}

variable "snowflake_public_key" {
  description = "PEM without its first and last line."
  type        = string
}

variable "oidc_issuer_url" {
  description = "Of the cluster."
  type        = string
}

module "azure" {
  source = "../azure"

  suffix              = "prod1"
  resource_group_name = "azure-collector"
  location            = "westeurope"
  tenant_id           = var.tenant_id
  reader_scopes       = ["/providers/Microsoft.Management/managementGroups/${var.management_group}"]
  kubernetes          = { oidc_issuer_url = var.oidc_issuer_url }
}

module "snowflake" {
  source = "../snowflake"

  account        = var.snowflake_account
  rsa_public_key = var.snowflake_public_key
}

output "settings" {
  description = "data: of the ConfigMap in deploy/kubernetes/settings.yaml."
  value       = merge(module.azure.kubernetes_settings, module.snowflake.settings)
}
