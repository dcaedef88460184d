"""Long operations: 202, a place to poll, and an end."""

from __future__ import annotations

import re
import uuid
from collections import OrderedDict

import msgspec

from pipeline.sandbox.arm.arm_errors import arm_error
from pipeline.sandbox.arm.faults import LongOperation
from pipeline.sandbox.arm.wire import Answer, Request, json_answer

# The oldest are forgotten past this; a poll of them is then 404.
OPERATIONS_MAX = 10_000
STARTED = "2026-11-22T08:00:00.0000000Z"
ENDED = "2026-11-22T08:00:09.0000000Z"

_POLL = re.compile(
    r"/providers/Microsoft\.Simulator/locations/[^/]+/(operations|operationResults)/([0-9a-f-]{36})$",
    re.IGNORECASE,
)


class Operation(msgspec.Struct):
    """One operation under way.

    Attributes:
        id: GUID.
        scope: of the subscription it belongs to, ``""`` for the tenant.
        plan: how it goes.
        polls_left: until it ends.
        result: the answer it ends with.
        original: method and target that began it.
    """

    id: str
    scope: str
    plan: LongOperation
    polls_left: int
    result: Answer
    original: tuple[str, str]


class Operations:
    """All operations, by id.

    Args:
        seed: another seed, other ids.
    """

    def __init__(self, seed: str) -> None:
        self._root = uuid.UUID(seed)
        self.reset()

    def reset(self) -> None:
        """Forget all, and begin again with the first id."""
        self._count = 0
        self._operations: OrderedDict[str, Operation] = OrderedDict()
        # Originals whose operation has ended: asked again, they answer.
        self._ended: OrderedDict[tuple[str, str], Answer] = OrderedDict()

    def begin(self, plan: LongOperation, request: Request, result: Answer, origin: str) -> Answer:
        """Begin an operation, or end it if it was to end at its original path.

        Args:
            plan: how it goes.
            request: that begins it.
            result: the answer it is to end with.
            origin: of the links, as the client called it.

        Returns:
            The 202; or the answer, if the operation of this original has ended.
        """
        original = (request.method, request.target)
        if (ended := self._ended.pop(original, None)) is not None:
            return ended
        self._count += 1
        target = request.target
        scope = "/".join(target.split("/")[:3]) if target[:15].lower() == "/subscriptions/" else ""
        operation = Operation(
            str(uuid.uuid5(self._root, str(self._count))),
            scope.partition("?")[0],
            plan,
            plan.polls,
            result,
            original,
        )
        self._operations[operation.id] = operation
        if len(self._operations) > OPERATIONS_MAX:
            self._operations.popitem(last=False)
        return self._accepted(operation, origin)

    def take(self, answer: Answer) -> Answer | None:
        """Take back the operation that this 202 has begun; what it was to end with."""
        link = answer.header("Azure-AsyncOperation") or answer.header("Location")
        found = _POLL.search(link.partition("?")[0]) if link else None
        operation = self._operations.pop(found[2].lower(), None) if found else None
        return None if operation is None else operation.result

    def poll(self, request: Request, origin: str) -> Answer | None:
        """The answer to a poll; ``None`` if the request is none."""
        path = request.target.partition("?")[0]
        if "Simulator" not in path or (found := _POLL.search(path)) is None:
            return None
        operation = self._operations.get(found[2].lower())
        if operation is None:
            return arm_error(404, "OperationNotFound", f"The operation '{found[2]}' is unknown.")
        if found[1].lower() == "operations":
            return self._status(operation, origin)
        return self._at_location(operation, origin)

    def _link(self, operation: Operation, what: str, origin: str) -> str:
        return (
            f"{origin}{operation.scope}/providers/Microsoft.Simulator/locations/westeurope/{what}/"
            f"{operation.id}?api-version=2024-07-01&t=638000000000000000&c=%2Bsigned%3D"
        )

    def _retry_after(self, operation: Operation) -> tuple[tuple[str, str], ...]:
        wait_s = operation.plan.retry_after_s
        return () if wait_s is None else (("Retry-After", str(wait_s)),)

    def _accepted(self, operation: Operation, origin: str) -> Answer:
        headers: list[tuple[str, str]] = []
        if operation.plan.style == "azure-async":
            link = self._link(operation, "operations", origin)
            headers.append(("Azure-AsyncOperation", link))
        if operation.plan.style == "location" or operation.plan.result == "location":
            headers.append(("Location", self._link(operation, "operationResults", origin)))
        headers.extend(self._retry_after(operation))
        return Answer(202, headers=tuple(headers), kind="operation began")

    def _status(self, operation: Operation, origin: str) -> Answer:
        id_ = self._link(operation, "operations", origin).removeprefix(origin).partition("?")[0]
        value: dict[str, object] = {"id": id_, "name": operation.id, "startTime": STARTED}
        if operation.polls_left > 0:
            operation.polls_left -= 1
            value |= {"status": "InProgress", "percentComplete": 50.0}
            answer = json_answer(200, value, "operation status")
            return answer.with_headers(*self._retry_after(operation))
        outcome = operation.plan.outcome
        value |= {"status": outcome, "endTime": ENDED}
        if outcome != "Succeeded":
            value["error"] = {"code": f"Operation{outcome}", "message": f"It {outcome.lower()}."}
        elif operation.plan.result == "output" and operation.result.body:
            value["properties"] = {"output": msgspec.Raw(operation.result.body)}
        elif operation.plan.result == "original":
            self._end(operation)
        return json_answer(200, value, "operation status")

    def _at_location(self, operation: Operation, origin: str) -> Answer:
        if operation.polls_left > 0:
            operation.polls_left -= 1
            link = ("Location", self._link(operation, "operationResults", origin))
            headers = (link, *self._retry_after(operation))
            return Answer(202, headers=headers, kind="operation result")
        outcome = operation.plan.outcome
        if outcome != "Succeeded":
            return arm_error(409, f"Operation{outcome}", f"The operation {outcome.lower()}.")
        if operation.plan.result == "original":
            self._end(operation)
            return Answer(204, kind="operation result")
        return msgspec.structs.replace(operation.result, kind="operation result")

    def _end(self, operation: Operation) -> None:
        self._ended[operation.original] = operation.result
        if len(self._ended) > OPERATIONS_MAX:
            self._ended.popitem(last=False)
