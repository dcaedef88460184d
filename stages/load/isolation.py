"""Which rows kill the process that loads them: found by quarters, from what outlives it. Pure.

A load that dies leaves behind what it was about. A quarter of its batches at a time is tried again,
apart from everything else, down to a batch that kills alone. That one is loaded in pieces, which
are quartered in their turn, down to the row. What does not kill goes through on the way::

    joined load ──► quarters ──► one batch, twice ──► its pieces ──► one row, three times

Rows of RESOURCES come first, those of REQUESTS last: no request is told complete before its rows
are there, and what was set aside is known when its request is told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import msgspec
from msgspec.structs import replace

# What has killed is cut into so many parts: a death takes longer than a load that goes through, so
# there are to be few of them.
PARTS = 4
# A batch that was alone in so many deaths is taken apart: one may be a coincidence.
APART_AT = 2
# A row that was alone in so many deaths is set aside.
ASIDE_AT = 3
# What still kills when all that can be left out is left out: the whole batch is given up.
GIVE_UP_AT = 6
# From so many deaths on, a process shows that it can load anything before it tries a suspect.
PROVE_AT = 2


class Trial(msgspec.Struct, frozen=True):
    """What is loaded apart from everything else.

    Attributes:
        batches: ids; one, if it has rows.
        rows: from where to before where, of a batch's resources and then its requests; None for
            all of it.
        deaths: in which it was under way, since it cannot be cut any more.
    """

    batches: tuple[str, ...]
    rows: tuple[int, int] | None = None
    deaths: int = 0

    @property
    def is_piece(self) -> bool:
        """Part of a batch that was taken apart."""
        return self.rows is not None

    def died(self) -> list[Trial]:
        """What it becomes when the process dies of it."""
        if len(self.batches) > 1:
            cuts = _cut(0, len(self.batches))
            return [Trial(self.batches[first:end]) for first, end in cuts]
        if self.rows is not None and self.rows[1] - self.rows[0] > 1:
            return [Trial(self.batches, rows) for rows in _cut(*self.rows)]
        return [replace(self, deaths=self.deaths + 1)]


def _cut(first: int, end: int) -> list[tuple[int, int]]:
    parts = min(PARTS, end - first)
    edges = [first + (end - first) * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))


class Suspicion(msgspec.Struct, frozen=True):
    """What is known of loads that died.

    Attributes:
        joined: batches of the load that is under way.
        trying: the first trial is under way.
        proving: the load that shows that loading works is under way.
        deaths: of processes with a load under way, since one was last committed.
        trials: what is to be tried, in this order; the pieces of a batch in theirs.
        aside: by batch, which of its rows are set aside and why.
    """

    joined: tuple[str, ...] = ()
    trying: bool = False
    proving: bool = False
    deaths: int = 0
    trials: tuple[Trial, ...] = ()
    aside: dict[str, dict[int, str]] = {}

    @property
    def under_way(self) -> bool:
        """A load has begun, and its end was not noted."""
        return self.trying or self.proving or bool(self.joined)

    @property
    def suspects(self) -> dict[str, None]:
        """Batches that are loaded by trials only, the next one first."""
        return dict.fromkeys(batch_id for trial in self.trials for batch_id in trial.batches)

    def idle(self) -> Suspicion:
        """No load is under way."""
        return replace(self, joined=(), trying=False, proving=False)

    def after_death(self) -> Suspicion:
        """The process that noted this is dead."""
        if not self.under_way:
            return self
        trials = self.trials
        if self.trying and trials:
            first, *rest = trials
            # What may be innocent goes first; a batch's pieces stay in their order.
            own = [one for one in rest if first.is_piece and one.batches == first.batches]
            others = [one for one in rest if one not in own]
            trials = (*others, *first.died(), *own)
        elif self.joined:
            trials = (*trials, *Trial(self.joined).died())
        return replace(self.idle(), trials=trials, deaths=self.deaths + 1)

    def proven(self) -> Suspicion:
        """A load went through: the deaths before it were those of what they were about."""
        return replace(self, deaths=0)

    def taken_apart(self, resources: int, requests: int) -> Suspicion:
        """The first trial is a batch that kills alone: it becomes its pieces.

        Args:
            resources: its rows of RESOURCES.
            requests: its rows of REQUESTS.
        """
        first, *rest = self.trials
        # The last piece is there even if it is empty: it tells what was set aside.
        cuts = [*_cut(0, resources), (resources, resources + requests)]
        made = [Trial(first.batches, rows) for rows in cuts]
        return replace(self, trials=(*made, *rest))

    def without_row(self, reason: str) -> Suspicion:
        """The first trial is one row, which is set aside."""
        first, *rest = self.trials
        assert first.rows is not None
        self = self.with_aside(first.batches[0], {first.rows[0]: reason})
        return replace(self, trials=tuple(rest))

    def with_aside(self, batch_id: str, rows: dict[int, str]) -> Suspicion:
        """These rows of a batch are set aside, each for its reason."""
        if not rows:
            return self
        known = self.aside.get(batch_id, {})
        return replace(self, aside={**self.aside, batch_id: {**known, **rows}})

    def done(self) -> tuple[Suspicion, bool]:
        """The first trial is committed.

        Returns:
            What is left, and whether its batches are loaded with it.
        """
        first, *rest = self.trials
        left = replace(self, trials=tuple(rest))
        if first.is_piece and first.batches[0] in left.suspects:
            return left, False
        return left.forget(first.batches), True

    def forget(self, batch_ids: Collection[str]) -> Suspicion:
        """These batches are loaded, damaged or given up."""
        kept = []
        for trial in self.trials:
            batches = tuple(one for one in trial.batches if one not in batch_ids)
            if batches:
                kept.append(replace(trial, batches=batches))
        aside = {one: rows for one, rows in self.aside.items() if one not in batch_ids}
        return replace(self, trials=tuple(kept), aside=aside)

    def only(self, batch_ids: Collection[str]) -> Suspicion:
        """What of this is about these batches."""
        known = self.suspects.keys() | self.aside.keys()
        return self.forget(known - set(batch_ids)) if known - set(batch_ids) else self


def joined(notes: Sequence[Suspicion], batch_ids: Collection[str]) -> Suspicion:
    """What one's own note and those of others say of one's own batches.

    Args:
        notes: one's own first; those of collectors whose batches may have been taken over.
        batch_ids: one's own batches.
    """
    own, *others = [note.after_death() for note in notes]
    own = own.only(batch_ids)
    for note in others:
        found = note.only(set(batch_ids) - own.suspects.keys())
        own = replace(own, trials=(*own.trials, *found.trials), aside={**found.aside, **own.aside})
    return own
