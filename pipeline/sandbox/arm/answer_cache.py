"""Answers that are kept ready, so that the simulator is faster than what is measured against it."""

from __future__ import annotations

from collections import OrderedDict

from pipeline.sandbox.arm.wire import Answer

# Origin as the client called it, target, and whether the body is compressed.
Key = tuple[str, str, bool]


class AnswerCache:
    """Answers to GET by target, the longest unused forgotten first.

    Args:
        limit_bytes: of all bodies together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._answers: OrderedDict[Key, Answer] = OrderedDict()

    def get(self, key: Key) -> Answer | None:
        """The answer, now the most recently used."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: Key, answer: Answer) -> None:
        """Keep an answer."""
        self._answers[key] = answer
        self._bytes += len(answer.body)
        while self._bytes > self._limit_bytes:
            _, dropped = self._answers.popitem(last=False)
            self._bytes -= len(dropped.body)

    def clear(self) -> None:
        """Forget all."""
        self._answers.clear()
        self._bytes = 0
