"""``/_simulator/``: how a test or a demo talks to the simulator itself.

No authorisation: the simulator listens on loopback only and holds nothing of anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.sandbox.arm import kql
from pipeline.sandbox.arm.faults import RULES_MAX, AnyFault
from pipeline.sandbox.arm.graph import GRAPH_PATH
from pipeline.sandbox.arm.pages import Listing, One, parse_query
from pipeline.sandbox.arm.recordings import Recording
from pipeline.sandbox.arm.settings import SettingsChange
from pipeline.sandbox.arm.wire import UNCOUNTED, Answer, Request, json_answer
from pipeline.undecodable import UNDECODABLE

if TYPE_CHECKING:
    from pipeline.sandbox.arm.simulator import Simulator

CONTROL = "/_simulator/"
# Of a row's digest, as in the column BODY_HASH.
DIGEST_BYTES = 16


class _Listed(msgspec.Struct):
    value: list[msgspec.Raw]


class Expectation(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A request whose rows are asked for."""

    target: str
    method: str = "GET"
    body: Any = None


class ControlApi:
    """Answers requests for ``/_simulator/``.

    Args:
        simulator: what is looked at and changed.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._routes: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "stats"): self._stats,
            ("POST", "reset"): self._reset,
            ("PUT", "faults"): self._faults,
            ("PUT", "recordings"): self._put_recordings,
            ("POST", "recordings"): self._add_recordings,
            ("GET", "settings"): self._settings,
            ("PUT", "settings"): self._change_settings,
            ("GET", "expected"): self._expected,
            ("POST", "expected"): self._expected_of,
            ("GET", "catalogue"): self._catalogue,
        }

    def handle(self, request: Request) -> Answer:
        """The answer to one request; 400 with the exact problem for input that is not valid."""
        name = request.target.partition("?")[0].removeprefix(CONTROL).strip("/")
        route = self._routes.get((request.method, name))
        if route is None:
            takes = ", ".join(f"{method} {path}" for method, path in self._routes)
            return _error(404, f"no {request.method} {name!r} here; there are: {takes}")
        try:
            value = route(request)
        except (*UNDECODABLE, kql.QueryError, ValueError) as error:
            return _error(400, str(error))
        return json_answer(200, value, UNCOUNTED)

    def _stats(self, request: Request) -> Any:
        del request
        report = self._simulator.stats.report(len(self._simulator.connections))
        return report | {"reads_left": self._simulator.manager.throttle.levels()}

    def _reset(self, request: Request) -> Any:
        del request
        self._simulator.reset()
        return {"reset": True}

    def _faults(self, request: Request) -> Any:
        faults = msgspec.json.decode(request.body, type=list[AnyFault])
        if len(faults) > RULES_MAX:
            raise ValueError(f"at most {RULES_MAX} faults are taken, got {len(faults)}")
        self._simulator.faults.replace(faults)
        return {"faults": len(faults)}

    def _put_recordings(self, request: Request) -> Any:
        recordings = msgspec.json.decode(request.body, type=list[Recording])
        self._simulator.recordings.clear()
        return {"recordings": self._simulator.recordings.add(recordings)}

    def _add_recordings(self, request: Request) -> Any:
        recordings = msgspec.json.decode(request.body, type=list[Recording])
        return {"recordings": self._simulator.recordings.add(recordings)}

    def _settings(self, request: Request) -> Any:
        del request
        simulator = self._simulator
        return {
            **msgspec.to_builtins(simulator.settings),
            "token": None,
            "tokens": _count(simulator.tokens),
            "graph_token": None,
            "graph_tokens": _count(simulator.graph_tokens),
        }

    def _change_settings(self, request: Request) -> Any:
        change = msgspec.json.decode(request.body, type=SettingsChange)
        simulator = self._simulator
        simulator.configure(
            change.apply(simulator.settings),
            _changed(simulator.tokens, change.tokens),
            _changed(simulator.graph_tokens, change.graph_tokens),
        )
        return self._settings(request)

    def _expected(self, request: Request) -> Any:
        target = parse_query(request.target.partition("?")[2]).get("target")
        if not target:
            raise ValueError("takes ?target=<path and query, percent-encoded>")
        return self._rows("GET", target, b"")

    def _expected_of(self, request: Request) -> Any:
        asked = msgspec.json.decode(request.body, type=Expectation)
        return self._rows(asked.method.upper(), asked.target, msgspec.json.encode(asked.body))

    def _rows(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        """What rows a request has over all pages; no bucket is drawn on."""
        simulator = self._simulator
        if not target.startswith("/"):
            raise ValueError(f"target must begin with '/', got {target!r}")
        recorded = simulator.recordings.find(method, target, keep=True)
        if recorded is not None:
            return _of_body(recorded)
        if method == "POST" and target.partition("?")[0].lower().rstrip("/") == GRAPH_PATH:
            ids = simulator.manager.graph.ids(body)
            return {"status": 200, "count": len(ids), "ids": ids}
        if method != "GET":
            raise ValueError(f"expects GET, or POST of a Resource Graph query, got {method}")
        in_directory = simulator.microsoft_graph.expected(target)
        if isinstance(in_directory, Answer):
            return _of_body(in_directory)
        if in_directory is not None:
            return {"status": 200, "count": len(in_directory), "ids": in_directory}
        found = simulator.router.resolve(target)
        if isinstance(found, Listing):
            rows = [found.row(i) for i in range(found.count)]
            digests = [_digest(row.body) for row in rows]
            ids = [row.id for row in rows]
            return {"status": 200, "count": len(ids), "ids": ids, "digests": digests}
        if isinstance(found, One):
            return _of_body(Answer(200, found.body))
        if isinstance(found, Answer):
            return _of_body(found)
        return _of_body(simulator.manager.view(found))

    def _catalogue(self, request: Request) -> Any:
        del request
        tenant = self._simulator.tenant
        return {
            "tenant_id": tenant.id,
            "subscriptions": tenant.subscription_ids,
            "resource_groups": [tenant.group_name(k) for k in range(tenant.groups)],
            "types": {
                row.full: {
                    "per_subscription": tenant.count(row),
                    "level": row.level,
                    "in_resource_list": row.tracked,
                }
                for row in tenant.types.values()
            },
            "directory": self._simulator.directory.counts(),
        }


def _of_body(answer: Answer) -> dict[str, Any]:
    """Rows as a collector makes them: the elements of ``value``, or the whole answer."""
    try:
        value = msgspec.json.decode(answer.body) if answer.body else None
    except UNDECODABLE:
        return {"status": answer.status, "count": 1, "ids": [None]}
    if answer.status >= 300:
        error = value.get("error", {}) if isinstance(value, dict) else {}
        code = error.get("code") if isinstance(error, dict) else None
        return {"status": answer.status, "count": 0, "ids": [], "code": code}
    rows, texts = value.get("value") if isinstance(value, dict) else None, [answer.body]
    if isinstance(rows, list):
        texts = [bytes(text) for text in msgspec.json.decode(answer.body, type=_Listed).value]
    else:
        rows = [value]
    ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
    digests = [_digest(text) for text in texts]
    return {"status": answer.status, "count": len(rows), "ids": ids, "digests": digests}


def _digest(body: bytes) -> str:
    """Of one row's text: what a collector that changes none of it has as its own."""
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).hexdigest()


def _count(tokens: frozenset[str] | None) -> int | None:
    return None if tokens is None else len(tokens)


def _changed(
    tokens: frozenset[str] | None, change: list[str] | msgspec.UnsetType | None
) -> frozenset[str] | None:
    if isinstance(change, msgspec.UnsetType):
        return tokens
    return None if change is None else frozenset(change)


def _error(status: int, message: str) -> Answer:
    return json_answer(
        status, {"error": {"code": "SimulatorControl", "message": message}}, UNCOUNTED
    )
