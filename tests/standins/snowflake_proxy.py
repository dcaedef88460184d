"""A proxy before the sandbox's Snowflake that answers in its place what the sandbox never would.

It speaks Snowflake's protocol as far as the connector uses it: statements, session tokens and their
renewal. Everything else passes, and the faults of the wire can be switched on beside it.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests import secrets_seen
from tests.acceptance.chaos.proxy import FaultProxy, _Link
from tests.acceptance.chaos.wire import Message
from tests.standins.snowflake_answers import MASTER_TOKEN_EXPIRED, Refusal, renewed

_TOKEN = re.compile(rb'Snowflake Token="([^"]*)"')
# By a name of its own, or as write_pandas does: a comment, and the name bound.
_CREATE_STAGE = re.compile(
    r'CREATE\s+(?:SCOPED\s+)?TEMP(?:ORARY)?\s+STAGE\s+(?:"?(\w+)"?|/\*.*?\*/ identifier\(\?\))',
    re.IGNORECASE,
)
_DROP_STAGE = re.compile(r'DROP\s+STAGE\s+(?:IF EXISTS\s+)?"?(\w+)"?', re.IGNORECASE)

LOGIN = "/session/v1/login-request"
RENEWAL = "/session/token-request"
END = "/session?delete=true"
STATEMENT = "/queries/v1/query-request"


@dataclass(eq=False)
class _Rule:
    refusal: Refusal
    says: re.Pattern[str]
    path: str
    skip: int
    left: int | None
    runs: bool


class SnowflakeProxy(FaultProxy):
    """A proxy before a Snowflake; a context manager.

    Args:
        host: of the service.
        port: of the service.

    Attributes:
        answered: refusals given, by code.
        statements: what the clients ran, in their order, the refused ones too.
        logins: what the clients said at each login: ``data`` of the request.
        renewals: session tokens that were renewed.
        master_expired: a session token is renewed no more.
        check_login: says of a login's ``data`` why it is refused; None lets it through to the
            service, which looks at passwords only.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.answered: Counter[str] = Counter()
        self.statements: list[str] = []
        self.logins: list[dict[str, Any]] = []
        self.renewals = 0
        self.master_expired = False
        self.check_login: Callable[[dict[str, Any]], Refusal | None] = _let_through
        self._refusals: list[_Rule] = []
        # Tokens that are over, each with what is said of it from then on.
        self._over: dict[str, Refusal] = {}
        # The service's own token for each that was given out by a renewal.
        self._original: dict[str, str] = {}
        # Stages of each session, by the service's token.
        self._stages: dict[str, set[str]] = {}

    def refuse_statement(
        self,
        refusal: Refusal,
        says: str,
        *,
        path: str = STATEMENT,
        skip: int = 0,
        first: int | None = 1,
        runs: bool = False,
    ) -> None:
        """Answer statements with this.

        Args:
            refusal: the answer.
            says: regular expression, searched in the statement.
            path: of the requests.
            skip: how many of these statements pass before.
            first: how many are refused then; all if None.
            runs: the service has run the statement all the same.
        """
        pattern = re.compile(says, re.IGNORECASE | re.DOTALL)
        self._refusals.append(_Rule(refusal, pattern, path, skip, first, runs))

    def forget_all(self) -> None:
        """Refuse nothing any more, and count from nothing. Sessions that are over stay so."""
        self.heal()
        self._refusals.clear()
        self.master_expired, self.check_login = False, _let_through
        self.renewals = 0
        for counted in (self.counts, self.answered, self.requests, self.statements, self.logins):
            counted.clear()

    @property
    def stages_left(self) -> set[str]:
        """Temporary stages of sessions that live on which nobody has dropped."""
        return set().union(*self._stages.values())

    # ── in its thread ────────────────────────────────────────────────────────────────────────

    async def _ask(self, link: _Link, request: Message) -> Message:
        found = _TOKEN.search(request.head)
        token = secrets_seen.secret(found[1].decode()) if found else ""
        own = self._original.get(token, token)
        path = request.target
        if path.startswith(RENEWAL):
            return self._renewal(token)
        if path.startswith(END):
            self._stages.pop(own, None)
        elif token in self._over:
            return self._refused(self._over[token])
        request = replace(request, head=request.head.replace(token.encode(), own.encode()))
        if path.startswith(LOGIN):
            self.logins.append(json.loads(request.text)["data"])
            if refused := self.check_login(self.logins[-1]):
                return self._refused(refused)
        said = json.loads(request.text) if path.startswith(STATEMENT) else {}
        statement = str(said.get("sqlText", ""))
        if statement:
            self.statements.append(statement)
        rule = self._refusal_for(path, statement)
        if rule is not None and not rule.runs:
            await self._end(link, token, own, rule.refusal)
            return self._refused(rule.refusal)
        answer = await super()._ask(link, request)
        if statement and json.loads(answer.text).get("success"):
            self._note_stage(own, statement, said.get("bindings"))
        if rule is not None:
            await self._end(link, token, own, rule.refusal)
            return self._refused(rule.refusal)
        return answer

    def _refusal_for(self, path: str, statement: str) -> _Rule | None:
        for rule in self._refusals:
            if not path.startswith(rule.path) or not rule.says.search(statement):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if rule.left is not None:
                rule.left -= 1
                if not rule.left:
                    self._refusals.remove(rule)
            return rule
        return None

    async def _end(self, link: _Link, token: str, own: str, refusal: Refusal) -> None:
        """What is over with this answer."""
        if not refusal.ends or not token:
            return
        self._over[token] = refusal
        if refusal.ends == "session":
            self._over[own] = refusal
            self._stages.pop(own, None)
            head = (
                f"POST {END} HTTP/1.1\r\nHost: {self.address}\r\n"
                f'Authorization: Snowflake Token="{own}"\r\nContent-Length: 0\r\n\r\n'
            ).encode()
            await super()._ask(link, Message(f"POST {END} HTTP/1.1", head, b"", False))

    def _renewal(self, token: str) -> Message:
        # The connector sends the master token, which the sandbox makes equal to the session's.
        own = self._original.get(token, token)
        over = self._over.get(own)
        if self.master_expired or (over is not None and over.ends == "session"):
            return self._refused(MASTER_TOKEN_EXPIRED)
        self.renewals += 1
        new = secrets.token_hex(16)
        self._original[new] = own
        return _message(renewed(new, own))

    def _note_stage(self, own: str, statement: str, bindings: Any) -> None:
        stages = self._stages.setdefault(own, set())
        if created := _CREATE_STAGE.search(statement):
            name = created[1] or str(bindings["1"]["value"]).split(".")[-1].strip('"')
            stages.add(name.upper())
        elif dropped := _DROP_STAGE.search(statement):
            stages.discard(dropped[1].upper())

    def _refused(self, refusal: Refusal) -> Message:
        self.answered[refusal.code] += 1
        return _message(refusal.body(), refusal.status)


def _let_through(data: dict[str, Any]) -> Refusal | None:
    return None


def _message(body: dict[str, Any], status: int = 200) -> Message:
    payload = json.dumps(body).encode()
    start = f"HTTP/1.1 {status} -"
    head = f"{start}\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    return Message(start, head.encode(), payload, False)
