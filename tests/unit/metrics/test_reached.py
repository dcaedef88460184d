"""Whether a dependency is within reach."""

from __future__ import annotations

from pipeline.metrics.reached import Reached


def test_an_answer_ages_until_the_next_one_and_a_failure_ends_it() -> None:
    reached = Reached()
    assert reached.age_s(10) is None
    reached.answered(10)
    assert reached.age_s(15) == 5
    reached.failed()
    assert reached.age_s(16) is None
    reached.answered(20)
    assert reached.age_s(20) == 0


def test_an_answer_does_not_age_while_something_long_is_asked() -> None:
    reached = Reached()
    reached.answered(10)
    reached.holding(12)
    assert reached.age_s(500) == 2
    reached.holding(None)
    assert reached.age_s(500) == 490
