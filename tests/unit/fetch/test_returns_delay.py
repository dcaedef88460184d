"""A message that failed stays away for longer each time, and not for ever."""

from __future__ import annotations

from stages.fetch.returns import FAILED_FIRST_S, FAILED_MAX_S, retry_delay_s


def test_it_doubles_up_to_a_limit() -> None:
    delays = [retry_delay_s(deliveries) for deliveries in range(1, 200)]
    assert delays[:4] == [FAILED_FIRST_S * factor for factor in (1, 2, 4, 8)]
    assert delays == sorted(delays)
    assert max(delays) == delays[-1] == FAILED_MAX_S
