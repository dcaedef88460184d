variable "name" {
  description = "What the resources are called after; the storage account has it without hyphens."
  type        = string
  default     = "azure-collector"

  validation {
    condition     = can(regex("^[a-z](?:-?[a-z0-9])*$", var.name)) && length(var.name) >= 3 && length(var.name) <= 18
    error_message = "3 to 18 lower-case letters, digits and single hyphens, a letter first: with a suffix it has to be a storage account's and a vault's name (24 characters)."
  }
}

variable "suffix" {
  description = "Added to the names that must be unique in all of Azure: storage account and vault."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{2,5}$", var.suffix))
    error_message = "2 to 5 lower-case letters or digits."
  }
}

variable "resource_group_name" {
  description = "Resource group that is there already."
  type        = string
}

variable "location" {
  description = "Azure region, e.g. westeurope."
  type        = string
}

variable "tenant_id" {
  description = "Tenant of the vault and the identity."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.tenant_id))
    error_message = "A tenant id is a UUID."
  }
}

variable "queue_names" {
  description = "Queues to read, in falling priority (AZURE_QUEUE_NAME). Each gets a poison queue."
  type        = list(string)
  default     = ["collector"]

  validation {
    condition = length(var.queue_names) > 0 && alltrue([
      for name in var.queue_names :
      can(regex("^[a-z0-9](?:-?[a-z0-9])*$", name)) && length(name) >= 3 && length(name) <= 56
    ])
    error_message = "3 to 56 lower-case letters, digits and single hyphens each, so that NAME-poison is a queue name too."
  }

  validation {
    condition     = length(distinct(var.queue_names)) == length(var.queue_names)
    error_message = "Each queue once."
  }
}

variable "reader_scopes" {
  description = "What is collected: management groups or subscriptions on which the identity is Reader."
  type        = set(string)

  validation {
    condition = alltrue([
      for scope in var.reader_scopes : can(regex(
        "^/(subscriptions/[0-9a-fA-F-]{36}|providers/Microsoft.Management/managementGroups/[^/]{1,90})$",
        scope
      ))
    ])
    error_message = "Each is /subscriptions/ID or /providers/Microsoft.Management/managementGroups/NAME."
  }
}

variable "sender_principal_ids" {
  description = "Object ids of those who may put messages into the queues, by a name of one's own."
  type        = map(string)
  default     = {}
}

variable "secret_officer_principal_ids" {
  description = "Object ids of those who may write secrets into the vault, by a name of one's own. Terraform writes none, so that none is in its state."
  type        = map(string)
  default     = {}
}

variable "replication" {
  description = "How the storage account is replicated."
  type        = string
  default     = "ZRS"

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS"], var.replication)
    error_message = "One of LRS, ZRS, GRS, GZRS."
  }
}

variable "allowed_subnet_ids" {
  description = "Subnets that reach storage account and vault. Empty: every network, with an identity."
  type        = set(string)
  default     = []
}

variable "kubernetes" {
  description = "Issuer of the cluster whose service account is this identity, and whose KEDA asks the queue as it; null without one."
  type = object({
    oidc_issuer_url      = string
    namespace            = optional(string, "azure-collector")
    service_account      = optional(string, "azure-collector")
    keda_namespace       = optional(string, "keda")
    keda_service_account = optional(string, "keda-operator")
  })
  default = null

  validation {
    condition     = var.kubernetes == null || can(regex("^https://[^?#]+$", var.kubernetes.oidc_issuer_url))
    error_message = "oidc_issuer_url is an https:// address."
  }
}

variable "container_app" {
  description = "Runs the collector in an Azure Container Apps environment that is there already; null without it."
  type = object({
    environment_id  = string
    image           = string
    registry_server = optional(string)
    min_replicas    = optional(number, 1)
    max_replicas    = optional(number, 4)
    settings        = map(string)
  })
  default = null

  validation {
    condition = var.container_app == null || try(
      var.container_app.min_replicas >= 0 &&
      var.container_app.max_replicas >= max(1, var.container_app.min_replicas) &&
      # Merges into one Snowflake table wait for each other, and past 20 they fail.
      var.container_app.max_replicas <= 20,
      false
    )
    error_message = "0 <= min_replicas <= max_replicas <= 20, and max_replicas at least 1."
  }

  validation {
    condition = var.container_app == null || try(alltrue([
      for name, value in var.container_app.settings :
      can(regex("^[A-Z][A-Z0-9_]*$", name)) && (
        !can(regex("_(PASSWORD|TOKEN|SECRET|PASSPHRASE|PRIVATE_KEY|CONNECTION_STRING)$", name)) || startswith(value, "kv:")
      )
    ]), false)
    error_message = "Settings are upper case, and secrets among them are kv:SECRET-NAME: anything else would stand in Terraform's state."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
