"""How the status shows figures."""

from __future__ import annotations

import pytest

from pipeline.commands.status_view import duration, size


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (200_000, "2 d 7 h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 51, "2048.0 TiB"),
    ],
)
def test_a_size_has_the_largest_unit(amount: float, said: str) -> None:
    assert size(amount) == said
