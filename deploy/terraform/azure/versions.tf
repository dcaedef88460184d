terraform {
  required_version = ">= 1.9.0, < 2.0.0"

  required_providers {
    azurerm = {
      source = "hashicorp/azurerm"
      # The first minor versions of 4 that let a scale rule use an identity (identity_id).
      version = ">= 4.70.0, < 5.0.0"
    }
  }
}
