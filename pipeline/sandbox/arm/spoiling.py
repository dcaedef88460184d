"""What each fault does to an answer."""

from __future__ import annotations

import math
import time
from email.utils import formatdate
from typing import Any

import msgspec

from pipeline.sandbox.arm import faults as f
from pipeline.sandbox.arm.api import Dialect
from pipeline.sandbox.arm.wire import JSON_TYPE, Answer, Delivery, Request
from pipeline.undecodable import UNDECODABLE


def replacement(fault: f.AnyFault, target: str, dialect: Dialect) -> Answer | None:
    """The answer a fault gives in place of the tenant's; ``None`` if it needs that one."""
    match fault:
        case f.Status():
            answer = dialect.error(fault.status, fault.code, fault.message, "fault")
            return answer.with_headers(*fault.headers.items())
        case f.Throttled():
            return _throttled(fault, dialect)
        case f.Reset():
            return Answer(500, kind="fault", delivery=Delivery(reset_at=-1))
        case f.HugeBody():
            filler = Delivery(filler_bytes=fault.body_bytes)
            headers = (("Content-Type", JSON_TYPE),)
            return Answer(200, headers=headers, kind="fault", delivery=filler)
        case f.Redirect():
            location = fault.location if fault.location is not None else fault.origin + target
            return Answer(fault.status, headers=(("Location", location),), kind="fault")
        case _:
            return None


def _throttled(fault: f.Throttled, dialect: Dialect) -> Answer:
    code = fault.code or dialect.throttled_code
    answer = dialect.error(fault.status, code, "A simulated throttle.", "throttled")
    wait_s = fault.retry_after_s
    if fault.form == "date":
        at_s = math.ceil(time.time() + wait_s)
        return answer.with_headers(("Retry-After", formatdate(at_s, usegmt=True)))
    if fault.form == "ms":
        return answer.with_headers(("x-ms-retry-after-ms", str(int(wait_s * 1000))))
    if fault.form == "seconds":
        return answer.with_headers(("Retry-After", str(math.ceil(wait_s))))
    return answer


def spoil(
    fault: f.AnyFault, answer: Answer, request: Request, origin: str, dialect: Dialect
) -> Answer:
    """The answer with the fault in it (a long operation is begun elsewhere)."""
    half = len(answer.body) // 2
    how = answer.delivery or Delivery()
    match fault:
        case f.ResetMidBody():
            at = half if fault.after_bytes is None else fault.after_bytes
            how = Delivery(reset_at=at)
        case f.BrokenJson():
            body = answer.body[:half] if fault.text is None else fault.text.encode()
            answer = msgspec.structs.replace(answer, body=body)
        case f.WrongLength():
            how = Delivery(length_error=fault.delta)
        case f.Stall() if fault.after_bytes is None:
            how = Delivery(delay_s=fault.stall_s)
        case f.Stall():
            how = Delivery(stall_at=fault.after_bytes, stall_s=fault.stall_s)
        case f.NextLink():
            answer = _relinked(fault, answer, request, origin, dialect.next_link)
    if fault.latency_s:
        how = msgspec.structs.replace(how, delay_s=how.delay_s + fault.latency_s)
    return answer if how == Delivery() else msgspec.structs.replace(answer, delivery=how)


def _relinked(
    fault: f.NextLink, answer: Answer, request: Request, origin: str, name: str
) -> Answer:
    try:
        body: dict[str, Any] = msgspec.json.decode(answer.body, type=dict[str, Any])
    except UNDECODABLE:
        return answer
    right = body.get(name) or origin + request.target
    path = right[len(origin) :] if right.startswith(origin) else request.target
    links = {
        "foreign": fault.origin + path,
        "loop": origin + request.target,
        "empty": "",
        "null": None,
        "relative": path,
        "exact": fault.link,
    }
    body[name] = links[fault.form]
    return msgspec.structs.replace(answer, body=msgspec.json.encode(body))
