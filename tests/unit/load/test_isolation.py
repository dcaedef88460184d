"""Finding what kills the process that loads it: every death costs one process, and tells enough."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from msgspec.structs import replace

from stages.load.isolation import (
    APART_AT,
    ASIDE_AT,
    GIVE_UP_AT,
    PARTS,
    PROVE_AT,
    Suspicion,
    Trial,
    joined,
)

# Rows of RESOURCES and of REQUESTS that each batch has.
RESOURCES, REQUESTS = 1000, 100
# More steps than any search here takes.
STEPS_LIMIT = 20_000

Row = tuple[str, int]


class World:
    """Batches of which some rows kill, and what a stage does with them."""

    def __init__(self, batches: Collection[str], deadly: Collection[Row]) -> None:
        self.deadly = set(deadly)
        self.loaded: list[Row] = []
        self.plain: list[Row] = []
        self.whole: list[str] = []
        self.given_up: list[str] = []
        self.deaths = 0
        self.noted = replace(Suspicion(), joined=tuple(batches)).after_death()

    def search(self) -> None:
        for _ in range(STEPS_LIMIT):
            if not self.noted.trials:
                return
            self._step()
        raise AssertionError("the search does not end")

    def _step(self) -> None:
        trial = self.noted.trials[0]
        (batch_id, *more), rows = trial.batches, trial.rows
        if trial.deaths >= GIVE_UP_AT:
            self.given_up.append(batch_id)
            self.noted = self.noted.forget([batch_id])
        elif rows is None and not more and trial.deaths >= APART_AT:
            self.noted = self.noted.taken_apart(RESOURCES, REQUESTS)
        elif rows is not None and trial.deaths >= ASIDE_AT and rows[0] < RESOURCES:
            self.noted = self.noted.without_row("kills")
        else:
            self._load(trial)

    def _load(self, trial: Trial) -> None:
        first, end = trial.rows or (0, RESOURCES + REQUESTS)
        rows = {(batch_id, row) for batch_id in trial.batches for row in range(first, end)}
        if trial.rows is not None and first >= RESOURCES and trial.deaths >= ASIDE_AT:
            self.plain += rows
        elif rows & self.deadly:
            self.deaths += 1
            self.noted = replace(self.noted, trying=True).after_death()
            return
        self.loaded += rows
        self.noted, whole = self.noted.done()
        self.whole += trial.batches if whole else ()


def rows_of(*batches: str) -> set[Row]:
    return {(batch_id, row) for batch_id in batches for row in range(RESOURCES + REQUESTS)}


@pytest.mark.parametrize(
    "deadly",
    [
        [("b", 0)],
        [("b", RESOURCES - 1)],
        [("c", 500), ("c", 501), ("a", 7)],
        [("b", row) for row in range(300, 320)],
    ],
)
def test_what_kills_is_set_aside_and_all_else_is_loaded_once(deadly: list[Row]) -> None:
    world = World("abcdefgh", deadly)
    world.search()
    assert set(world.loaded) == rows_of(*"abcdefgh") - set(deadly)
    assert len(world.loaded) == len(set(world.loaded))
    assert sorted(world.whole) == list("abcdefgh")
    assert not world.given_up
    assert world.noted.aside == {}, "what is loaded is forgotten"


def test_one_row_of_many_costs_few_deaths() -> None:
    world = World("abcdefgh", [("c", 123)])
    world.search()
    # Eight batches, 1,000 rows: the quarters, the batch alone, its quarters, and the row.
    assert world.deaths <= 2 + APART_AT + 6 + ASIDE_AT


def test_a_request_that_kills_is_loaded_without_its_texts() -> None:
    world = World("ab", [("a", RESOURCES + 5)])
    world.search()
    assert world.plain == [("a", RESOURCES + 5)]
    assert set(world.loaded) == rows_of("a", "b")


def test_requests_are_told_after_their_rows() -> None:
    world = World("a", [("a", 3), ("a", RESOURCES + 5)])
    world.search()
    places = [row for _, row in world.loaded]
    last_resource = max(places.index(row) for row in range(RESOURCES) if row != 3)
    first_request = min(places.index(row) for row in range(RESOURCES, RESOURCES + REQUESTS))
    assert last_resource < first_request


def test_rows_that_are_set_aside_are_known_until_the_requests_are_told() -> None:
    world = World("a", [("a", 3)])
    while not (world.noted.trials[0].rows or (0,))[0] >= RESOURCES:
        world._step()
    assert world.noted.aside == {"a": {3: "kills"}}


def test_a_batch_that_kills_whatever_is_left_out_is_given_up() -> None:
    trial = Trial(("a",), (RESOURCES, RESOURCES), ASIDE_AT)
    noted = Suspicion(trials=(trial,))
    for _ in range(GIVE_UP_AT - ASIDE_AT):
        noted = replace(noted, trying=True).after_death()
    assert noted.trials[0].deaths == GIVE_UP_AT


def test_a_death_is_put_down_to_what_was_under_way_and_to_nothing_else() -> None:
    trials = (Trial(("a",), deaths=1), Trial(("b",)))
    noted = Suspicion(trials=trials)
    assert noted.after_death() == noted, "nothing was under way"
    proving = replace(noted, proving=True).after_death()
    assert (proving.trials, proving.deaths) == (trials, 1)
    with_another = replace(noted, joined=("x",)).after_death()
    assert with_another.trials == (*trials, Trial(("x",), deaths=1))


def test_one_accident_costs_as_many_loads_as_parts() -> None:
    batches = tuple(f"b{number:03}" for number in range(256))
    noted = replace(Suspicion(), joined=batches).after_death()
    assert len(noted.trials) == PARTS
    assert [one for trial in noted.trials for one in trial.batches] == list(batches)


def test_what_may_be_innocent_goes_first() -> None:
    noted = Suspicion(trying=True, trials=(Trial(("a",), deaths=1), Trial(("b", "c"))))
    assert [trial.batches for trial in noted.after_death().trials] == [("b", "c"), ("a",)]


def test_deaths_are_counted_until_something_is_loaded() -> None:
    noted = Suspicion()
    for _ in range(PROVE_AT):
        noted = replace(noted, joined=("a",)).after_death()
    assert noted.deaths == PROVE_AT


@pytest.mark.parametrize(
    ("given", "kept"),
    [("ab", ["a", "b"]), ("b", ["b"]), ("", [])],
)
def test_of_others_is_kept_what_is_about_batches_taken_over(given: str, kept: list[str]) -> None:
    own = Suspicion(trials=(Trial(("a",), (0, 5)),), aside={"a": {7: "kills"}})
    others = Suspicion(joined=("b", "x"), deaths=3)
    found = joined([own, others], given)
    assert sorted(found.suspects) == kept
    assert found.deaths == 0, "of the others' processes none is excused here"
    assert ("a" in found.aside) == ("a" in given)


def test_done_says_when_the_last_piece_is_in() -> None:
    noted = Suspicion(trials=(Trial(("a",), (0, 5)), Trial(("a",), (5, 6)), Trial(("b",))))
    after, whole = noted.done()
    assert not whole
    after, whole = after.done()
    assert whole
    assert after.trials == (Trial(("b",)),)
