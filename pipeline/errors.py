"""Every error the collector raises by name.

::

    CollectorError
    ├── ConfigError              settings are wrong: exit 2, every problem at once
    ├── BadMessage               a queue message breaks a rule: to the poison queue, with the reason
    ├── DependencyError          something outside could not be used
    │   ├── Unreachable          no answer: name, network, port, time-out          (retryable)
    │   ├── Unauthorised         it answered and refused who we are or what we may (terminal)
    │   └── NotThere             it answered; the named thing does not exist       (terminal)
    ├── StageFailed              a stage cannot go on
    └── SandboxError             the sandbox could not be had: exit 3

``retryable`` is a class attribute, so a caller decides by type, never by text. All of them survive
pickling, because an error may cross a process boundary.
"""

from __future__ import annotations

from typing import ClassVar

# Exit codes of every command.
EXIT_DONE = 0
EXIT_UNEXPECTED = 1
EXIT_CONFIG = 2
EXIT_DEPENDENCY = 3
EXIT_CRASH_LOOP = 4


class CollectorError(Exception):
    """Base of the tree."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = EXIT_UNEXPECTED


class ConfigError(CollectorError):
    """One or more settings are missing or wrong.

    Args:
        problems: one sentence each: the variable, what it got, what it takes, where it came from.
    """

    exit_code = EXIT_CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class BadMessage(CollectorError):
    """A queue message that breaks a rule of the message format.

    Args:
        reason: the rule in a few stable words, e.g. ``not JSON``.
        detail: what was got, what is taken and where (``api_requests[3].method``).
    """

    exit_code = EXIT_CONFIG

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class DependencyError(CollectorError):
    """Something outside the collector could not be used.

    Args:
        what: the dependency, e.g. ``queue``, ``Snowflake``, ``Key Vault``, ``ARM``.
        problem: what it said or did, without secrets.
        hint: what to check.
    """

    exit_code = EXIT_DEPENDENCY

    def __init__(self, what: str, problem: str, hint: str = "") -> None:
        super().__init__(what, problem, hint)
        self.what = what
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.what}: {self.problem}"
        return f"{text} - {self.hint}" if self.hint else text


class Unreachable(DependencyError):
    """No usable answer came: wrong name, closed port, time-out, broken TLS."""

    retryable = True


class Unauthorised(DependencyError):
    """It answered, and refused the identity or lacks a right."""


class NotThere(DependencyError):
    """It answered; the queue, vault, secret, database or warehouse named does not exist."""


class StageFailed(CollectorError):
    """A stage cannot go on."""


class SandboxError(CollectorError):
    """A part of the sandbox (Azurite, simulator, fakesnow) could not be had or did not start."""

    exit_code = EXIT_DEPENDENCY
