"""Begins to trace in a stage's process, if that is asked for and can be done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.logs import add_secret, log
from pipeline.tracing import variables

if TYPE_CHECKING:
    from pipeline.tracing.tracer import Tracer

# Kinds of stages that have spans.
TRACED = frozenset({"fetch", "execute", "load"})
# One process tells for all why there are no traces.
TELLS = "fetch"


def start(name: str, kind: str, environ: Mapping[str, str] = os.environ) -> Tracer | None:
    """The process's tracer; None if nothing is to be traced, or cannot be, which is told once.

    Args:
        name: of the process, e.g. ``execute-0``.
        kind: of stage.
        environ: the variables; the SDK reads those of the process itself.
    """
    if kind not in TRACED or not variables.wanted(environ):
        return None
    for secret in variables.secrets(environ):
        add_secret(secret)
    why = variables.problem(environ)
    if why is None:
        try:
            from pipeline.tracing.tracer import Tracer

            return Tracer(name, environ)
        except ImportError as error:
            why = (
                f"an endpoint is named, and {error.name} is not installed: "
                "the collector's extra brings it, pip install -e '.[otel]'"
            )
        except Exception as error:  # noqa: BLE001  # the SDK's, for a variable that it cannot read
            why = f"{type(error).__name__}: {error}"
    if kind == TELLS:
        log.bind(action="tracing_off").warning("no traces: {}", why)
    return None
