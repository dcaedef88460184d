"""An event that repeats is written a few times and then counted; nothing is left out untold."""

from __future__ import annotations

import random

import pytest

from pipeline.log_sampling import KEPT_CHARS, Sampler, Suppressed, shape

SITE = ("stages.fetch.receiver", 138)


def say(sampler: Sampler, now_s: float, text: str = "cannot receive", process: str = "") -> bool:
    written, told = sampler.admit(now_s, SITE, "receive_failed", "WARNING", process, text)
    assert told is None
    return written


def test_the_first_lines_of_a_minute_are_written_and_the_rest_is_counted() -> None:
    sampler = Sampler(first_lines=10, interval_s=60)
    assert [say(sampler, float(second)) for second in range(30)] == [True] * 10 + [False] * 20
    assert sampler.due(59.9) == []
    [told] = sampler.due(60.0)
    assert told == Suppressed("receive_failed", "WARNING", "", 20, 60.0, "cannot receive")
    assert sampler.due(60.1) == []


def test_a_storm_that_goes_on_has_one_line_a_minute() -> None:
    sampler = Sampler(first_lines=10, interval_s=60)
    written, counts = 0, []
    for second in range(600):
        counts += [one.count for one in sampler.due(float(second))]
        written += say(sampler, float(second))
    counts += [one.count for one in sampler.end(600.0)]
    assert written == 10
    assert counts == [50, *[60] * 9]


def test_what_has_become_rare_is_written_again() -> None:
    sampler = Sampler(first_lines=2, interval_s=60)
    assert [say(sampler, 0.0) for _ in range(4)] == [True, True, False, False]
    sampler.due(60.0)
    assert say(sampler, 61.0)


def test_a_line_that_comes_after_its_minute_brings_the_count_with_it() -> None:
    sampler = Sampler(first_lines=1, interval_s=60)
    assert [say(sampler, 0.0) for _ in range(2)] == [True, False]
    written, told = sampler.admit(75.0, SITE, "receive_failed", "WARNING", "", "cannot receive")
    assert written
    assert told is not None
    assert (told.count, told.seconds) == (1, 75.0)


def test_events_are_told_apart_by_place_action_process_and_first_words_but_not_by_names() -> None:
    sampler = Sampler(first_lines=1)
    assert say(sampler, 0.0, "queue q-1a2b: no answer within 30 s")
    assert not say(sampler, 0.0, "queue q-3c4d: no answer within 60 s")
    assert say(sampler, 0.0, "queue q-1a2b: refused")
    assert say(sampler, 0.0, "queue q-1a2b: no answer within 30 s", process="execute-1")
    assert sampler.admit(0.0, ("other", 1), "receive_failed", "ERROR", "", "cannot receive")[0]
    assert sampler.admit(0.0, SITE, "other", "ERROR", "", "cannot receive")[0]


def test_names_and_numbers_are_no_part_of_a_shape() -> None:
    said = "a load failed and is tried again in 3.7 s"
    assert shape(said) == "a load failed and is tried again in"
    assert shape("message vm-inventory-2026-11-23 of tenant") == "message * of tenant"
    assert len(shape("x " * 10_000)) < 200


def test_the_end_tells_all_that_is_left() -> None:
    sampler = Sampler(first_lines=1)
    for _ in range(5):
        say(sampler, 0.0)
    [told] = sampler.end(3.0)
    assert (told.count, told.seconds) == (4, 3.0)
    assert sampler.end(3.0) == []


def test_memory_is_bounded_and_what_has_no_place_shares_one_by_its_action() -> None:
    sampler = Sampler(first_lines=2, max_keys=8)
    written = 0
    for word in range(500):
        said = "".join(random.Random(word).choices("abcdefgh", k=8))
        written += say(sampler, 0.0, said)
        assert len(sampler) <= 9
    assert written == 10
    assert sum(one.count for one in sampler.due(60.0)) == 490
    assert len(sampler) <= 9
    sampler.due(120.0)
    sampler.due(180.0)
    assert len(sampler) == 0


@pytest.mark.parametrize("seed", range(20))
def test_written_and_told_lines_are_all_that_came(seed: int) -> None:
    luck = random.Random(seed)
    sampler = Sampler(first_lines=luck.randint(1, 5), interval_s=10, max_keys=luck.randint(1, 6))
    came = accounted = 0
    now_s = 0.0
    for _ in range(2_000):
        now_s += luck.choice([0.0, 0.01, 0.5, 20.0])
        if luck.random() < 0.1:
            accounted += sum(one.count for one in sampler.due(now_s))
        text = luck.choice(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"])
        written, told = sampler.admit(now_s, SITE, luck.choice("ab"), "ERROR", "", text)
        came += 1
        accounted += written + (told.count if told else 0)
    accounted += sum(one.count for one in sampler.end(now_s))
    assert accounted == came


def test_a_long_text_is_kept_in_part() -> None:
    sampler = Sampler(first_lines=1)
    say(sampler, 0.0, "long " * 1000)
    say(sampler, 0.0, "long " * 1000)
    assert len(sampler.end(0.0)[0].last) == KEPT_CHARS
