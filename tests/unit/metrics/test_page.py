"""docs/metrics.md is what the code says."""

from __future__ import annotations

from pathlib import Path

from pipeline.metrics.table import page

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_it_is_what_the_command_prints() -> None:
    assert PAGE.read_text("utf-8") == page(), "python -m pipeline.metrics.table > docs/metrics.md"
