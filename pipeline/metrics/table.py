"""The page of metrics: ``python -m pipeline.metrics.table > docs/metrics.md`` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct

from pipeline.metrics.catalogue import METRICS, OTHER, PREFIX, Metric
from pipeline.ops.connection import IDLE_S
from pipeline.ops.health import REACHED_WITHIN_S, SILENT_AFTER_S
from pipeline.ops.server import MAX_CONNECTIONS
from pipeline.ops.status import Status

_HEAD = f"""\
# Metrics and status

<!-- Written by `python -m pipeline.metrics.table`: change pipeline/metrics/catalogue.py and
pipeline/ops/status.py, not this page. -->

A running collector answers on `OPS_HOST`:`OPS_PORT`, by default on `127.0.0.1:8080`:

| page | says |
|---|---|
| `/healthz` | 200 while the supervisor turns and every stage has answered within {SILENT_AFTER_S:.0f} s, else 503; with the state of each process, as JSON |
| `/readyz` | 200 while it collects, every stage is ready, and the queue and Snowflake have answered within {REACHED_WITHIN_S:.0f} s, else 503; 503 too while it starts and while it drains |
| `/metrics` | all metrics, in Prometheus' text format |
| `/status` | how things are, as JSON |

`azure-collector status` shows the last of these: as a live view on a terminal, else once as text;
`--json` gives the document, `--watch SECONDS` shows it again and again.

Other addresses than loopback need `OPS_TOKEN`. Where it is set, `/metrics` and `/status` want it as
`Authorization: Bearer TOKEN`; the probes want none. There is no TLS: put a proxy before it if the
network is not yours. It takes {MAX_CONNECTIONS} connections, GET and HEAD; a connection on which nothing is asked
is closed after {IDLE_S:.0f} s. If the default port is taken, a collector says so and runs without; a port
that was set has to be free.

While nothing else does it, `fetch` asks the queues for their length, and `load` asks Snowflake for
a sign of life, every 30 seconds; no warehouse runs for that. With `OPS_PORT=0` nobody asks.

## Metrics

Every name begins with `{PREFIX}`. Each process counts for itself and tells the supervisor
twice a second; sums go on when a process is replaced. What a killed process had counted since it
last told, half a second at most, is lost with it. When a metric has its limit of label values, the
next ones are counted as `{OTHER}`.

"""  # noqa: E501

_STATUS = """\

## The fields of `/status`

More may come; these keep their names. `[]` stands for each element of a list.

"""


def page() -> str:
    """The page as Markdown."""
    lines = ["| metric | kind | labels | says |", "|---|---|---|---|", *map(_metric, METRICS)]
    fields = ["| field | says |", "|---|---|", *_fields(Status, "")]
    return _HEAD + "\n".join(lines) + "\n" + _STATUS + "\n".join(fields) + "\n"


def _metric(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    said = metric.help
    if metric.buckets:
        said += f" Buckets: {', '.join(f'{bound:.15g}' for bound in metric.buckets)}."
    return f"| `{metric.name}` | {metric.kind} | {labels} | {said} |"


def _fields(of: type[Struct], before: str) -> Iterator[str]:
    for name, hint in get_type_hints(of, include_extras=True).items():
        kind, said = _taken_apart(hint)
        path = f"{before}{name}"
        yield f"| `{path}` | {said} |"
        inner = get_args(kind)[0] if get_origin(kind) is list else kind
        if isinstance(inner, type) and issubclass(inner, Struct):
            yield from _fields(inner, f"{path}[]." if inner is not kind else f"{path}.")


def _taken_apart(hint: Any) -> tuple[Any, str]:
    """A field's type, and its description."""
    if get_origin(hint) is not Annotated:
        return hint, ""
    kind, *others = get_args(hint)
    return kind, next(str(one.description) for one in others if isinstance(one, Meta))


if __name__ == "__main__":
    print(page(), end="")
