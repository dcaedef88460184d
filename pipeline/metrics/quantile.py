"""What a histogram says of its observations. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def mean(counted: Sequence[float]) -> float:
    """The average.

    Args:
        counted: sum, then count of each bucket; at least one observation.
    """
    return counted[0] / sum(counted[1:])


def quantile(part: float, bounds: Sequence[float], counted: Sequence[float]) -> float:
    """An estimate of the value that this part of the observations does not exceed.

    Within a bucket they are taken to be spread evenly, as Prometheus' ``histogram_quantile`` does;
    in the one without a bound, to be at its beginning.

    Args:
        part: from 0 to 1.
        bounds: of the buckets, upper ones; the last bucket has none.
        counted: sum, then count of each bucket; at least one observation.
    """
    counts = counted[1:]
    wanted = part * sum(counts)
    below, lower = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= wanted:
            return lower + (bound - lower) * (wanted - below) / count
        below += count
        lower = bound
    return lower
