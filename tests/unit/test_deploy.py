"""What no linter knows of ``deploy/``: its files agree with the program and with each other."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pipeline.config import load
from pipeline.config.settings import BY_NAME
from pipeline.config.sources import profile_names
from pipeline.errors import EXIT_CONFIG, EXIT_DONE
from pipeline.folders import CACHE_VARIABLE, STATE_VARIABLE
from pipeline.supervisor import START_TIMEOUT_S, STOP_TIMEOUT_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
UNIT = (DEPLOY / "systemd" / "azure-collector.service").read_text("utf-8")
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
CONTAINER_APP = (DEPLOY / "terraform" / "azure" / "container_app.tf").read_text("utf-8")
# Variables of others that the program stands on.
DOCUMENTED = {CACHE_VARIABLE, STATE_VARIABLE, "HOME", "PATH", "PYTHONUNBUFFERED", "TMPDIR"}
BUILD_ONLY = {"PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "PIP_DISABLE_PIP_VERSION_CHECK"}
GIB = 1 << 30


def objects(kind: str) -> list[dict[str, Any]]:
    """The manifests of a kind."""
    found = [
        one
        for path in sorted(KUBERNETES.glob("*.yaml"))
        for one in yaml.safe_load_all(path.read_text("utf-8"))
    ]
    return [one for one in found if one["kind"] == kind]


def only(kind: str) -> dict[str, Any]:
    (one,) = objects(kind)
    return one


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    spec: dict[str, Any] = only("Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (one,) = pod["containers"]
    return dict(one)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (DEPLOY / "docker" / "compose.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))


def unit_values(name: str) -> list[str]:
    """Values of a name in the systemd unit, which may stand there more than once."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def terraform_settings() -> dict[str, str]:
    """Settings that the container app is given, apart from those that say where Azure is."""
    (block,) = re.findall(r"container_settings = merge\(\{(.*?)\}", CONTAINER_APP, re.DOTALL)
    return dict(re.findall(r'(\w+)\s*= "([^"]*)"', block))


def seconds(text: object) -> float:
    return float(str(text).removesuffix("s"))


def gibibytes(text: str) -> float:
    return float(re.fullmatch(r"(\d+)Gi", text)[1])  # type: ignore[index]


# ── times nest ───────────────────────────────────────────────────────────────────────────────────


def stop_limits(pod: dict[str, Any], compose: dict[str, Any]) -> dict[str, float]:
    conf = configparser.RawConfigParser()
    conf.read(ROOT / "supervisord.conf")
    (app_s,) = re.findall(r"termination_grace_period_seconds\s*= (\d+)", CONTAINER_APP)
    return {
        "supervisord": float(conf["program:azure-collector"]["stopwaitsecs"]),
        "systemd": seconds(unit_values("TimeoutStopSec")[0]),
        "compose": seconds(compose["services"]["collector"]["stop_grace_period"]),
        "kubernetes": float(pod["terminationGracePeriodSeconds"]),
        "container app": float(app_s),
    }


def test_nobody_kills_a_collector_that_still_drains(
    pod: dict[str, Any], compose: dict[str, Any]
) -> None:
    default_s = float(BY_NAME["DRAIN_TIMEOUT"].default_text() or 0)
    drains = {
        "supervisord": default_s,
        "systemd": default_s,
        "compose": seconds(compose["services"]["collector"]["environment"]["DRAIN_TIMEOUT"]),
        "kubernetes": seconds(only("ConfigMap")["data"]["DRAIN_TIMEOUT"]),
        "container app": seconds(terraform_settings()["DRAIN_TIMEOUT"]),
    }
    limits = stop_limits(pod, compose)
    short = {who for who, limit_s in limits.items() if drains[who] + STOP_TIMEOUT_S >= limit_s}
    assert short == set()


def test_a_pod_that_starts_is_given_the_time_that_the_stages_may_take(
    container: dict[str, Any],
) -> None:
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > START_TIMEOUT_S
    (docker_s,) = re.findall(r"--start-period=(\d+)s", DOCKERFILE)
    assert float(docker_s) > START_TIMEOUT_S
    interval_s, failures = re.findall(
        r"startup_probe \{.*?interval_seconds\s*= (\d+).*?failure_count_threshold = (\d+)",
        CONTAINER_APP,
        re.DOTALL,
    )[0]
    assert int(interval_s) * int(failures) > START_TIMEOUT_S


def test_a_stage_that_hangs_is_replaced_before_its_container_is(container: dict[str, Any]) -> None:
    probe = container["livenessProbe"]
    replaced_s = float(BY_NAME["HEARTBEAT_LIMIT"].default_text() or 0) + START_TIMEOUT_S
    assert probe["periodSeconds"] * probe["failureThreshold"] > replaced_s


def test_one_pod_has_drained_before_the_next_is_taken_away(pod: dict[str, Any]) -> None:
    spec = only("ScaledObject")["spec"]
    (policy,) = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"][
        "policies"
    ]
    assert policy["value"] == 1
    assert policy["periodSeconds"] > pod["terminationGracePeriodSeconds"]


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


def settings_named(compose: dict[str, Any], container: dict[str, Any]) -> dict[str, set[str]]:
    outputs = [path.read_text("utf-8") for path in (DEPLOY / "terraform").glob("*/outputs.tf")]
    stages = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    return {
        "config map": set(only("ConfigMap")["data"]),
        "deployment": {one["name"] for one in container["env"]},
        "compose": set(compose["services"]["collector"]["environment"]),
        "container app": set(terraform_settings()),
        "terraform outputs": set(
            re.findall(r"^\s+([A-Z_]{4,})\s*= ", "".join(outputs), re.MULTILINE)
        ),
        "unit": {one.partition("=")[0] for one in re.findall(r"^#?Environment=(.*)$", UNIT, re.M)},
        "image": set(re.findall(r"(\w+)=", " ".join(stages))) - BUILD_ONLY,
    }


def test_every_variable_is_a_setting(compose: dict[str, Any], container: dict[str, Any]) -> None:
    named = settings_named(compose, container)
    assert {place: names - set(BY_NAME) - DOCUMENTED for place, names in named.items()} == {
        place: set() for place in named
    }
    assert all(named.values())


def test_a_pod_has_all_the_settings_that_a_collector_needs(
    container: dict[str, Any], tmp_path: Path
) -> None:
    token_file = tmp_path / "azure-identity-token"
    token_file.touch()
    webhook = {
        "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000000",
        "AZURE_TENANT_ID": "00000000-0000-0000-0000-000000000000",
        "AZURE_FEDERATED_TOKEN_FILE": str(token_file),
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
    }
    secrets = {
        one["name"]: "0123456789abcdef" * 4 for one in container["env"] if "valueFrom" in one
    }
    environ = {**webhook, **secrets, **only("ConfigMap")["data"]}
    profile = container["args"][container["args"].index("--profile") + 1]
    config = load(profile, {}, environ, resolve_secrets=False)
    assert config.ops_host == "0.0.0.0"


def test_every_other_value_is_one_that_its_setting_takes(compose: dict[str, Any]) -> None:
    composed = compose["services"]["collector"]["environment"]
    for name, text in [*terraform_settings().items(), *composed.items()]:
        BY_NAME[name].parse(text)


def test_the_profiles_are_there(compose: dict[str, Any], container: dict[str, Any]) -> None:
    commands = [
        unit_values("ExecStart")[0].split(),
        re.findall(r'^CMD \["(run.*)"\]$', DOCKERFILE, re.MULTILINE)[0].split('", "'),
        compose["services"]["collector"]["command"],
        container["args"],
    ]
    profiles = {words[words.index("--profile") + 1] for words in commands}
    assert profiles <= set(profile_names())


def test_no_secret_is_written_down() -> None:
    secrets = [name for name, setting in BY_NAME.items() if setting.secret]
    given = {**only("ConfigMap")["data"], **terraform_settings()}
    assert [name for name in secrets if not given.get(name, "kv:").startswith("kv:")] == []
    assert objects("Secret") == []


# ── the spool, ports, users ──────────────────────────────────────────────────────────────────────


def test_the_spool_has_room_beyond_its_limit(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    paths = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    sizes = {one["name"]: gibibytes(one["emptyDir"]["sizeLimit"]) for one in pod["volumes"]}
    state_gib = sizes[paths["/var/lib/azure-collector"]]
    spool_gib = int(only("ConfigMap")["data"]["SPOOL_BYTES"]) / GIB
    # What is in hand when the limit is reached, the journal, and lists that stand there twice.
    assert state_gib >= 2 * spool_gib
    disk_gib = gibibytes(container["resources"]["limits"]["ephemeral-storage"])
    assert disk_gib > sum(sizes.values())
    assert STATE_VARIABLE + "=/var/lib/azure-collector" in DOCKERFILE


def test_the_ports_are_the_one_that_the_collector_listens_on(
    container: dict[str, Any], compose: dict[str, Any]
) -> None:
    (port,) = container["ports"]
    (rule,) = only("NetworkPolicy")["spec"]["ingress"]
    shared = compose["services"]["sandbox"]["ports"]
    apps = set(re.findall(r"^\s+port\s*= (\d+)$", CONTAINER_APP, re.MULTILINE))
    exposed = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    found = {str(port["containerPort"]), str(rule["ports"][0]["port"]), *apps, *exposed}
    found |= {one.rpartition(":")[2] for one in shared}
    found |= {only("ConfigMap")["data"]["OPS_PORT"], terraform_settings()["OPS_PORT"]}
    assert found == {BY_NAME["OPS_PORT"].default_text()}
    names = {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness")}
    assert names == {port["name"]}
    assert only("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] == port["name"]


def test_who_is_asked_from_outside_has_a_token(
    container: dict[str, Any], compose: dict[str, Any]
) -> None:
    in_pod = {**only("ConfigMap")["data"], **{one["name"]: "given" for one in container["env"]}}
    for settings in (in_pod, terraform_settings(), compose["services"]["collector"]["environment"]):
        assert settings["OPS_HOST"] == "0.0.0.0"
        assert settings["OPS_TOKEN"]
    (given,) = [one for one in container["env"] if one["name"] == "OPS_TOKEN"]
    monitor = only("PodMonitor")["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"]
    assert given["valueFrom"]["secretKeyRef"] == monitor


def test_the_image_and_who_runs_it_name_one_user(
    pod: dict[str, Any], compose: dict[str, Any]
) -> None:
    users = set(re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE))
    security = pod["securityContext"]
    users |= {f"{security['runAsUser']}:{security['runAsGroup']}"}
    users |= {service["user"] for service in compose["services"].values()}
    users |= {f"{one[0]}:{one[1]}" for one in re.findall(r"-o (\d+) -g (\d+)", DOCKERFILE)}
    assert len(users) == 1
    assert "0" not in users.pop().split(":")


def test_the_container_meets_the_restricted_standard(
    pod: dict[str, Any], container: dict[str, Any], compose: dict[str, Any]
) -> None:
    own = container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]


def test_the_last_stage_is_the_collector_without_tools() -> None:
    *_, last = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    assert last.startswith("runtime AS collector")
    assert not re.search(r"apt|gcc|build-essential|pip |curl", last)
    assert "--only-binary=:all:" in DOCKERFILE


# ── scaling ──────────────────────────────────────────────────────────────────────────────────────


def test_keda_looks_at_the_queue_that_is_read(container: dict[str, Any]) -> None:
    scaled = only("ScaledObject")["spec"]
    settings = only("ConfigMap")["data"]
    queues = [trigger["metadata"]["queueName"] for trigger in scaled["triggers"]]
    assert queues == settings["AZURE_QUEUE_NAME"].split(",")
    account = settings["AZURE_QUEUE_ACCOUNT_URL"].split("/")[2].split(".")[0]
    assert {one["metadata"]["accountName"] for one in scaled["triggers"]} == {account}
    assert {one["metadata"]["queueLength"] for one in scaled["triggers"]} == {
        settings["MAX_IN_FLIGHT"]
    }
    assert scaled["scaleTargetRef"]["name"] == only("Deployment")["metadata"]["name"]
    assert "replicas" not in only("Deployment")["spec"]
    auth = only("TriggerAuthentication")
    assert scaled["triggers"][0]["authenticationRef"]["name"] == auth["metadata"]["name"]
    # MERGE of more than 20 sessions into one table is refused: Snowflake's error 000625.
    assert scaled["maxReplicaCount"] <= 20
    assert int(settings["NUM_PROCESSES"]) == int(container["resources"]["requests"]["cpu"])


def test_every_manifest_is_in_the_kustomization_or_said_to_be_optional() -> None:
    text = (KUBERNETES / "kustomization.yaml").read_text("utf-8")
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(re.findall(r"- (\S+\.yaml)$", text, re.MULTILINE))
    labels = only("Deployment")["spec"]["template"]["metadata"]["labels"]
    wanted = only("Deployment")["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= labels.items()
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        assert only(kind)["spec"]["selector"]["matchLabels"] == wanted
    assert only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == wanted


# ── exit codes, and the unit ─────────────────────────────────────────────────────────────────────


def test_what_starting_again_does_not_mend_is_not_started_again() -> None:
    conf = configparser.RawConfigParser()
    conf.read(ROOT / "supervisord.conf")
    program = conf["program:azure-collector"]
    assert program["autorestart"] == "unexpected"
    assert program["exitcodes"] == f"{EXIT_DONE},{EXIT_CONFIG}"
    assert unit_values("Restart") == ["on-failure"]
    assert unit_values("RestartPreventExitStatus") == [str(EXIT_CONFIG)]


def test_the_unit_leaves_the_drain_to_the_collector_and_keeps_its_state() -> None:
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.read_string(UNIT)
    assert parser.sections() == ["Unit", "Service", "Install"]
    service = parser["Service"]
    assert service["KillMode"] == "mixed"
    assert service["KillSignal"] == "SIGTERM"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["OOMPolicy"] == "continue"
    state = f"{STATE_VARIABLE}=%S/{service['StateDirectory']}"
    assert state in unit_values("Environment")


def test_the_check_can_be_run(tmp_path: Path) -> None:
    assert (
        subprocess.run(["bash", "-n", DEPLOY / "check"], cwd=tmp_path, check=False).returncode == 0
    )
    assert (DEPLOY / "check").stat().st_mode & 0o111
