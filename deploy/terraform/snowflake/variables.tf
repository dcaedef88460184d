variable "account" {
  description = "Account identifier, ORGANISATION-ACCOUNT: only for the output settings."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_]+-[A-Za-z0-9_]+$", var.account))
    error_message = "ORGANISATION-ACCOUNT."
  }
}

variable "database" {
  description = "Database of the tables."
  type        = string
  default     = "CLOUD"

  validation {
    condition     = can(regex("^[A-Z_][A-Z0-9_$]{0,254}$", var.database))
    error_message = "Upper case, without quotes: letters, digits, _ and $."
  }
}

variable "schema" {
  description = "Schema of the tables; nothing else should be kept in it."
  type        = string
  default     = "AZURE"

  validation {
    condition     = can(regex("^[A-Z_][A-Z0-9_$]{0,254}$", var.schema))
    error_message = "Upper case, without quotes: letters, digits, _ and $."
  }
}

variable "warehouse" {
  description = "Warehouse that runs COPY and MERGE."
  type        = string
  default     = "COLLECT"
}

variable "warehouse_size" {
  description = "A load is one MERGE of at most BATCH_BYTES: the smallest is enough, unless the tables are large."
  type        = string
  default     = "XSMALL"

  validation {
    condition     = contains(["XSMALL", "SMALL", "MEDIUM", "LARGE"], var.warehouse_size)
    error_message = "One of XSMALL, SMALL, MEDIUM, LARGE."
  }
}

variable "user" {
  description = "User that the collector logs in as."
  type        = string
  default     = "COLLECTOR"
}

variable "role" {
  description = "Role that loads."
  type        = string
  default     = "COLLECTOR"
}

variable "owner_role" {
  description = "Role that owns the tables: whoever runs azure-collector init-snowflake has it."
  type        = string
  default     = "COLLECTOR_OWNER"
}

variable "owner_user" {
  description = "User that gets the owner role, or null."
  type        = string
  default     = null
}

variable "reader_roles" {
  description = "Roles, there already, that read all of the tables and views."
  type        = set(string)
  default     = []
}

variable "rsa_public_key" {
  description = "Public half of the key, PEM without its first and last line. The private half goes into the vault, not through Terraform."
  type        = string

  validation {
    condition     = !strcontains(var.rsa_public_key, "-----")
    error_message = "Without the lines BEGIN and END; and a private key has no place here."
  }
}

variable "rsa_public_key_2" {
  description = "The next key while keys are rotated, or null."
  type        = string
  default     = null
}

variable "network_policy" {
  description = "Network policy of the user, there already, or null."
  type        = string
  default     = null
}

variable "retention" {
  description = "RETENTION_DAYS is set: the collector deletes old history and needs DELETE for that."
  type        = bool
  default     = false
}

variable "data_retention_days" {
  description = "Days that Time Travel keeps what was changed or deleted."
  type        = number
  default     = 1

  validation {
    condition     = var.data_retention_days >= 0 && var.data_retention_days <= 90
    error_message = "0 to 90; more than 1 takes the Enterprise edition."
  }
}
