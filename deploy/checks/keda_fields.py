"""KEDA's objects against its own types; what is a HorizontalPodAutoscaler's against Kubernetes'.

python keda_fields.py CACHE FILE…
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from packages import Package, declarations
from shapes import Shape, shapes

PACKAGE = Package(
    "@kubernetes-models/keda",
    "2.0.0",
    "8aa0e886bccbe755170facccf919784439d9f50ee3c208a45d8ac30b12f4b160"
    "3965315aee731f4b8131bb6b8aea8840f8e50d40c508156391007369cf9aa517",
)
API = "keda.sh/v1alpha1"
# Prefix of the types' names outside their own files.
PREFIX = "IComGithubKedacoreKedaV2ApisKedaV1alpha1"
BEHAVIOUR = "IIoK8sApiAutoscalingV2HorizontalPodAutoscalerBehavior"
PLAIN_TYPES = {"number": int, "string": str, "boolean": bool}
# keda.sh/docs/scalers/azure-storage-queue: what the trigger reads of its metadata. KEDA itself only
# says that they are texts.
QUEUE_TRIGGER = {
    "accountName",
    "activationQueueLength",
    "cloud",
    "connectionFromEnv",
    "endpointSuffix",
    "queueLength",
    "queueLengthStrategy",
    "queueName",
}

# The providers of AuthPodIdentity, which the type declarations only call a text.
POD_IDENTITIES = {"azure-workload", "gcp", "aws", "aws-eks", "none"}

Problems = Iterator[str]


def main(cache: Path, files: list[Path]) -> int:
    """Check every object of KEDA's in these files; print what is wrong.

    Returns:
        The exit code; no object at all is a fault too.
    """
    texts = declarations(
        PACKAGE, cache, lambda name: name.startswith(API) and name.endswith(".d.ts")
    )
    known = {name: shape for text in texts.values() for name, shape in shapes(text).items()}
    objects = [
        (path, one)
        for path in files
        for one in yaml.safe_load_all(path.read_text("utf-8"))
        if one and one.get("apiVersion") == API
    ]
    problems = [problem for path, one in objects for problem in _object(str(path), one, known)]
    print("\n".join(problems), end="\n" if problems else "")
    print(f"{len(objects)} objects of KEDA: {len(problems)} problems")
    return 1 if problems or not objects else 0


def _is_declaration(name: str) -> bool:
    return name.startswith(API) and name.endswith(".d.ts")


def _object(path: str, one: dict[str, Any], known: dict[str, Shape]) -> Problems:
    kind = one["kind"]
    where = f"{path}: {kind}"
    if f"I{kind}" not in known:
        yield f"{where}: KEDA has no such kind"
        return
    yield from _walk(where, one, f"I{kind}", known)
    provider = one.get("spec", {}).get("podIdentity", {}).get("provider", "none")
    if provider not in POD_IDENTITIES:
        yield f"{where}: there is no provider {provider}"
    for trigger in one.get("spec", {}).get("triggers", []):
        metadata = trigger.get("metadata", {})
        unquoted = sorted(name for name, value in metadata.items() if not isinstance(value, str))
        yield from (f"{where}: metadata {name} is no text: quote it" for name in unquoted)
        if trigger.get("type") == "azure-queue":
            unknown = sorted(set(metadata) - QUEUE_TRIGGER)
            yield from (f"{where}: azure-queue reads no {name}" for name in unknown)


def _walk(where: str, body: dict[str, Any], shape: str, known: dict[str, Shape]) -> Problems:
    yield from (f"{where}: {fault}" for fault in known[shape].faults(set(body)))
    for name, value in body.items():
        field = known[shape].fields.get(name)
        if field is None:
            continue
        inside = f"{where}.{name}"
        if BEHAVIOUR in field.type:
            yield from _behaviour(inside, value)
        elif inner := _inner(field.names_in_type(), known):
            for one in value if isinstance(value, list) else [value]:
                yield from _walk(inside, one, inner, known)
        elif field.type.startswith('"') and f'"{value}"' not in field.type:
            yield f"{inside}: got {value}; takes {field.type}"
        elif type(value) is not PLAIN_TYPES.get(field.type, type(value)):
            yield f"{inside}: got {value!r}; takes a {field.type}"


def _inner(names: list[str], known: dict[str, Shape]) -> str | None:
    for name in names:
        if name.startswith(PREFIX) and f"I{name.removeprefix(PREFIX)}" in known:
            return f"I{name.removeprefix(PREFIX)}"
    return None


def _behaviour(where: str, behaviour: object) -> Problems:
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "as-keda-makes-it"},
        "spec": {
            "maxReplicas": 1,
            "scaleTargetRef": {"kind": "Deployment", "name": "any"},
            "behavior": behaviour,
        },
    }
    try:
        kubernetes_validate.validate(autoscaler, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{where}: {error.message}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
