"""Azure's budget is used, shared and not exceeded, by feedback alone."""

from __future__ import annotations

import pytest

from tests.unit.execute.shared_bucket import ask


@pytest.mark.parametrize("latency_s", [0.005, 0.05, 0.2])
@pytest.mark.parametrize("threads", [4, 25, 100])
def test_one_alone_uses_all_of_it_and_is_never_refused(latency_s: float, threads: int) -> None:
    found = ask(1, latency_s, 60.0, threads)
    if threads / latency_s > 30.0:  # enough of them for 25 calls a second
        assert found.used > 0.97
    assert found.refused == [0]


@pytest.mark.parametrize("latency_s", [0.005, 0.05, 0.1])
@pytest.mark.parametrize("late_s", [0.0, 3.0])
def test_two_share_it_fairly_and_are_hardly_ever_refused(latency_s: float, late_s: float) -> None:
    found = ask(2, latency_s, 120.0, late_s=late_s)
    assert found.used > 0.97
    assert found.refused_part < 0.01
    assert min(found.done) > 0.8 * max(found.done)


@pytest.mark.parametrize("collectors", [3, 5])
def test_several_share_it_and_slow_down_until_they_are_not_refused(collectors: int) -> None:
    found = ask(collectors, 0.05, 120.0, late_s=0.5)
    assert found.used > 0.97
    assert found.refused_part < 0.01
    assert min(found.done) > 0.25 * sum(found.done) / collectors


def test_one_that_comes_later_gets_its_share() -> None:
    early, late = ask(2, 0.05, 240.0, late_s=60.0).done
    # Alone for a minute, with the full bucket; from then on half each.
    assert late > 0.4 * (early + late - (250 + 25 * 60))
