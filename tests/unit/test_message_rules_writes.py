"""What a message may POST: reads, unless the operator allows more."""

from __future__ import annotations

import pytest

from tests.unit.message_fixture import SUBSCRIPTION, a_message, a_request, parse, refusal

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm"


@pytest.mark.parametrize(
    "path",
    [
        "/providers/Microsoft.ResourceGraph/resources",
        "/providers/microsoft.resourcegraph/resourcesHistory",
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CostManagement/query",
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CostManagement/forecast",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/s/listKeys",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/s/listkeys",
        f"{GROUP}/providers/Microsoft.Web/sites/s/config/appsettings/list",
        f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/c/listClusterUserCredential",
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Storage/checkNameAvailability",
        f"{GROUP}/providers/Microsoft.PolicyInsights/policyStates/latest/queryResults",
        f"{GROUP}/providers/Microsoft.PolicyInsights/policyStates/latest/summarize",
        f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/w/query",
        f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/w/api/query",
        f"{GROUP}/providers/Microsoft.Network/networkInterfaces/n/effectiveRouteTable",
        f"{GROUP}/providers/Microsoft.DataFactory/factories/f/queryPipelineRuns",
        f"{GROUP}/exportTemplate",
        "/providers/Microsoft.Management/getEntities",
    ],
)
def test_a_post_that_reads_is_taken(path: str) -> None:
    assert (
        parse(a_message(a_request(method="POST", resource_path=path))).requests[0].method == "POST"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/subscriptions",
        "/batch",
        f"{VM}",
        f"{VM}/start",
        f"{VM}/deallocate",
        f"{VM}/runCommand",
        f"{VM}/",
        f"{GROUP}/moveResources",
        f"{GROUP}/providers/Microsoft.Compute/virtualMachines/listVm",
        f"{GROUP}/providers/Microsoft.Compute/virtualMachines/query",
        f"{VM}/start%2Flist",
        f"{VM}/start%3Flist",
        f"{VM}/start;list",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/s/regenerateKey",
        f"{GROUP}/providers/Microsoft.OperationalInsights/queryPacks",
        f"{GROUP}/providers/Microsoft.Network/networkWatchers/w/listener",
        "/providers/Microsoft.Authorization/elevateAccess",
        "/providers/Microsoft.Evil/resources",
        f"{GROUP}/providers",
        f"{GROUP}/providers/Microsoft.Compute",
    ],
)
def test_a_post_that_may_write_is_refused_unless_the_operator_allows_it(path: str) -> None:
    message = a_message(a_request(method="POST", resource_path=path))
    error = refusal(message)
    assert error.reason == "write refused"
    assert "ALLOW_WRITES" in error.detail
    assert parse(message, allow_writes=True).requests[0].method == "POST"


def test_a_parameter_cannot_turn_a_write_into_a_read() -> None:
    request = a_request(
        method="POST", resource_path=f"{VM}/{{action}}", parameters={"action": "start"}
    )
    assert refusal(a_message(request)).reason == "write refused"


def test_allowing_writes_does_not_widen_the_methods() -> None:
    error = refusal(a_message(a_request(method="DELETE")), allow_writes=True)
    assert error.reason == "method not allowed"
