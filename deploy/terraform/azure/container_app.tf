# Azure Container Apps in the place of a cluster of one's own: KEDA and probes come with it.

locals {
  # As in the Kubernetes manifests, where the reasons are.
  container_settings = merge({
    OPS_HOST      = "0.0.0.0"
    OPS_PORT      = "8080"
    OPS_TOKEN     = "kv:collector-ops-token"
    LOG_FORMAT    = "json"
    NUM_PROCESSES = "2"
    MAX_IN_FLIGHT = "2000"
    SPOOL_BYTES   = "1073741824"
    DRAIN_TIMEOUT = "60"
    AZURE_CLOUD   = "public"
  }, local.settings, try(var.container_app.settings, {}))
}

resource "azurerm_container_app" "this" {
  count = var.container_app == null ? 0 : 1

  name                         = var.name
  resource_group_name          = var.resource_group_name
  container_app_environment_id = var.container_app.environment_id
  revision_mode                = "Single"
  tags                         = var.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  dynamic "registry" {
    for_each = var.container_app.registry_server == null ? [] : [var.container_app.registry_server]
    content {
      server   = registry.value
      identity = azurerm_user_assigned_identity.this.id
    }
  }

  template {
    min_replicas                = var.container_app.min_replicas
    max_replicas                = var.container_app.max_replicas
    cooldown_period_in_seconds  = 300
    polling_interval_in_seconds = 30
    # Longer than DRAIN_TIMEOUT (60 s) and the end of the processes.
    termination_grace_period_seconds = 90

    container {
      name   = "collector"
      image  = var.container_app.image
      args   = ["run", "--profile", "standard"]
      cpu    = 2
      memory = "4Gi"

      dynamic "env" {
        for_each = local.container_settings
        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        transport               = "HTTP"
        path                    = "/healthz"
        port                    = 8080
        interval_seconds        = 3
        failure_count_threshold = 10
      }

      liveness_probe {
        transport               = "HTTP"
        path                    = "/healthz"
        port                    = 8080
        interval_seconds        = 20
        timeout                 = 5
        failure_count_threshold = 6
      }

      readiness_probe {
        transport               = "HTTP"
        path                    = "/readyz"
        port                    = 8080
        interval_seconds        = 10
        timeout                 = 5
        failure_count_threshold = 3
      }

      volume_mounts {
        name = "state"
        path = "/var/lib/azure-collector"
      }
    }

    # Goes with the replica; what is lost with it is collected again.
    volume {
      name         = "state"
      storage_type = "EmptyDir"
    }

    # For each queue; the one that asks for most replicas decides.
    dynamic "custom_scale_rule" {
      for_each = var.queue_names
      content {
        name             = custom_scale_rule.value
        custom_rule_type = "azure-queue"
        identity_id      = azurerm_user_assigned_identity.this.id
        metadata = {
          accountName         = azurerm_storage_account.this.name
          queueName           = custom_scale_rule.value
          queueLength         = local.container_settings["MAX_IN_FLIGHT"]
          queueLengthStrategy = "all"
          cloud               = "AzurePublicCloud"
        }
      }
    }
  }

  # Without them the first replica finds its queue and vault closed.
  depends_on = [azurerm_role_assignment.queues, azurerm_role_assignment.vault]
}
