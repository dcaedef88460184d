"""Faults that a test or a demo switches on: which requests they hit, and what they do.

Rules are tried in their order; the first that matches and is due is applied. ``kind`` in JSON
chooses what it does, e.g.::

    {"kind": "throttle", "prefix": "/subscriptions/…", "first": 2, "retry_after_s": 1}
"""

from __future__ import annotations

import random
import re
from collections import OrderedDict
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pipeline.sandbox.arm.settings import Count, Positive, Seconds

RULES_MAX = 1000
# Targets counted apart by a rule with per_target.
TARGETS_MAX = 100_000
# Made-up bodies are sent in pieces, so this limits time rather than memory.
FILLER_BYTES_MAX = 4 * 2**30


class Fault(
    msgspec.Struct, tag_field="kind", kw_only=True, frozen=True, forbid_unknown_fields=True
):
    """Which requests a rule hits.

    Attributes:
        prefix: of path and query, in any case.
        regex: found anywhere in path and query, in any case.
        target: exactly the path, or the path and query, as sent.
        method: only this one.
        skip: let so many matching requests pass first.
        first: then only so many; ``None`` is all.
        every: of those only each so-many-th, beginning with the first.
        probability: of those only so many at random, from a generator of its own.
        seed: of that generator.
        per_target: count for each path and query apart.
        latency_s: the answer also waits this long.
    """

    prefix: str | None = None
    regex: str | None = None
    target: str | None = None
    method: str | None = None
    skip: Count = 0
    first: Count | None = None
    every: Positive = 1
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    per_target: bool = False
    latency_s: Seconds = 0.0

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.prefix, self.regex, self.target)) > 1:
            raise ValueError("takes one of prefix, regex and target")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ValueError(f"regex is not one: {error}") from error


class Latency(Fault, tag="latency", frozen=True):
    """Nothing but the wait of ``latency_s``."""


class Status(Fault, tag="status", frozen=True):
    """An error in place of the answer, of the form that the API has."""

    status: Annotated[int, Meta(ge=200, le=599)]
    code: str = "SimulatedFault"
    message: str = "A simulated fault."
    headers: dict[str, str] = {}


class Throttled(Fault, tag="throttle", frozen=True):
    """429. ``form`` is how the wait is told; ``status`` may be 503 as well.

    ``code`` left out is what the API that is asked says itself.
    """

    retry_after_s: Annotated[float, Meta(ge=0, le=86_400)] = 1.0
    form: Literal["seconds", "date", "ms", "none"] = "seconds"
    status: Annotated[int, Meta(ge=400, le=599)] = 429
    code: str | None = None


class Reset(Fault, tag="reset", frozen=True):
    """The connection is reset before the answer."""


class ResetMidBody(Fault, tag="reset_mid_body", frozen=True):
    """The connection is reset in the body; ``after_bytes`` left out is half of it."""

    after_bytes: Count | None = None


class BrokenJson(Fault, tag="broken_json", frozen=True):
    """The body stops in the middle, with a Content-Length that fits; or is this ``text``."""

    text: str | None = None


class WrongLength(Fault, tag="content_length", frozen=True):
    """Content-Length is wrong by ``delta`` bytes; then the connection closes.

    Above 0 the body ends too soon, below 0 it runs over.
    """

    delta: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]


class Stall(Fault, tag="stall", frozen=True):
    """Silence for ``stall_s``: before the answer, or in the body after ``after_bytes``."""

    stall_s: Seconds
    after_bytes: Count | None = None


class HugeBody(Fault, tag="huge_body", frozen=True):
    """A list with one row, of so many bytes."""

    body_bytes: Annotated[int, Meta(ge=1, le=FILLER_BYTES_MAX)]


class NextLink(Fault, tag="next_link", frozen=True):
    """Another ``nextLink`` (``@odata.nextLink`` of Microsoft Graph) than the right one.

    ``foreign`` has its origin replaced by ``origin``; ``loop`` links to the same page; ``empty``
    is an empty text; ``null`` is null; ``relative`` has no origin; ``exact`` is ``link``.
    """

    form: Literal["foreign", "loop", "empty", "null", "relative", "exact"]
    origin: str = "http://management.azure.com.attacker.invalid"
    link: str = ""


class Redirect(Fault, tag="redirect", frozen=True):
    """A redirect to ``location``; left out, to the same path at another origin."""

    status: Annotated[int, Meta(ge=300, le=399)] = 302
    location: str | None = None
    origin: str = "http://management.azure.com.attacker.invalid"


class LongOperation(Fault, tag="operation", frozen=True):
    """202 first, and the answer only after ``polls`` polls.

    ``style`` is what the client is given to poll: ``azure-async`` has Azure-AsyncOperation,
    ``location`` has only Location. ``result`` is where the answer then is: at ``location``, at the
    ``original`` path, or as ``properties.output`` of the status.
    """

    style: Literal["azure-async", "location"] = "azure-async"
    polls: Annotated[int, Meta(ge=0, le=10_000)] = 2
    outcome: Literal["Succeeded", "Failed", "Canceled"] = "Succeeded"
    result: Literal["location", "original", "output"] = "location"
    retry_after_s: Annotated[int, Meta(ge=0, le=86_400)] | None = 1


AnyFault = (
    Latency
    | Status
    | Throttled
    | Reset
    | ResetMidBody
    | BrokenJson
    | WrongLength
    | Stall
    | HugeBody
    | NextLink
    | Redirect
    | LongOperation
)


class Rule:
    """A fault with what it has counted so far."""

    def __init__(self, fault: AnyFault) -> None:
        self.fault = fault
        self._regex = re.compile(fault.regex, re.IGNORECASE) if fault.regex is not None else None
        self._prefix = fault.prefix.lower() if fault.prefix is not None else None
        self._method = fault.method.upper() if fault.method is not None else None
        self._random = random.Random(fault.seed)
        self._seen: OrderedDict[str, int] = OrderedDict()

    def hits(self, method: str, target: str) -> bool:
        """Whether this request is hit; counts it if it matches."""
        if self._method is not None and method != self._method:
            return False
        return self._matches(target) and self._is_due(target if self.fault.per_target else "")

    def _matches(self, target: str) -> bool:
        if self._prefix is not None:
            return target.lower().startswith(self._prefix)
        if self._regex is not None:
            return self._regex.search(target) is not None
        if self.fault.target is not None:
            return self.fault.target in {target, target.partition("?")[0]}
        return True

    def _is_due(self, key: str) -> bool:
        fault = self.fault
        number = self._seen.get(key, 0)
        self._seen[key] = number + 1
        if len(self._seen) > TARGETS_MAX:
            self._seen.popitem(last=False)
        number -= fault.skip
        if number < 0 or (fault.first is not None and number >= fault.first):
            return False
        if number % fault.every:
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    @property
    def active(self) -> bool:
        """Whether there is any rule."""
        return bool(self._rules)

    def replace(self, faults: list[AnyFault]) -> None:
        """Have these rules and no others, with nothing counted yet."""
        self._rules = [Rule(fault) for fault in faults]

    def match(self, method: str, target: str) -> AnyFault | None:
        """The fault for this request, if one is due."""
        for rule in self._rules:
            if rule.hits(method, target):
                return rule.fault
        return None


def kind_of(fault: AnyFault) -> str:
    """The name of a fault's kind, as in JSON."""
    return str(fault.__struct_config__.tag)
