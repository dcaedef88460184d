"""Whatever JSON Azure sends comes back equal, number by number and to the microsecond."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stages.load.loader import Loader
from stages.load.session import Session
from tests.integration.snowflake_fixture import (
    batch,
    loader,
    request,
    resource,
    server,
    session,
)

__all__ = ["loader", "server", "session"]

BODIES = 300

# Numbers as texts: what is compared is their digits.
integers = st.integers(-(10**40), 10**40).map(str)
fractions = st.builds(
    "{}{}.{}".format, st.sampled_from(["", "-"]), st.integers(0, 10**20), integers
)
decimals = fractions.filter(lambda text: "-" not in text[1:])
exponents = st.builds("{}{}{}".format, decimals, st.sampled_from("eE"), st.integers(-300, 270))
strings = st.builds(json.dumps, st.text(max_size=30), ensure_ascii=st.booleans())
awkward = st.sampled_from(
    ['"$1 $$ ${x} %s ? ; --"', '"\\u0000"', '"\\u2028\u2028"', '""', "1e400", "-0", "-0.0", "1E+2"]
)
scalars = st.one_of(
    st.sampled_from(["null", "true", "false"]), integers, decimals, exponents, strings, awkward
)


def listed(items: list[str]) -> str:
    return "[" + ", ".join(items) + "]"


def named(pairs: list[tuple[str, str]]) -> str:
    """An object of these pairs; one that comes twice is written twice."""
    return "{" + ",".join(f"{key} : {value}" for key, value in pairs) + "}"


texts = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(listed),
        st.lists(st.tuples(strings, inner), max_size=5).map(named),
    ),
    max_leaves=20,
)
moments = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis takes naive bounds
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def read(text: str) -> Any:
    """JSON with every digit of its numbers; of equal keys the last one counts."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def generated() -> list[tuple[str, datetime]]:
    """Bodies and times, drawn once and loaded together: a load for each would take minutes."""
    drawn: list[tuple[str, datetime]] = []

    @settings(
        max_examples=BODIES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(texts, moments)
    def draw(text: str, moment: datetime) -> None:
        drawn.append((text, moment))

    draw()
    return drawn


def test_any_json_comes_back_equal_and_any_time(loader: Loader, session: Session) -> None:
    drawn = generated()
    assert len(drawn) >= BODIES // 2
    rows = [
        resource(f"{place:05}", BODY=text, ENQUEUED_AT=moment, COLLECTED_AT=moment)
        for place, (text, moment) in enumerate(drawn)
    ]
    assert loader.load([batch(rows)]).set_aside == 0
    found = session.run(
        'SELECT "BODY", "ENQUEUED_AT", "COLLECTED_AT" FROM "RESOURCES" ORDER BY "ROW_KEY"'
    )
    assert len(found) == len(drawn)
    for (text, moment), (body, *times) in zip(drawn, found, strict=True):
        assert read(body) == read(text), text
        assert times == [moment, moment]


@pytest.mark.parametrize(
    "body",
    [
        "[" * 900 + "]" * 900,
        '{"a":{"a":' + '{"a":' * 300 + "{}" + "}" * 302,
        '{"n": 1, "n": {"n": 2, "n": 3}}',
        '{"big": 123456789012345678901234567890123456789, "e": 1e400, "tiny": 1e-400}',
        '{"exact": 0.1000000000000000055511151231257827, "zero": 0.10}',
        '{"": {}, "e": [], "n": null, " ": ""}',
        '{"$ref": "#/$defs/a", "a.b": 1, "a\\"b": "\\u0007\\u0000\\ud83d\\ude00\U0001f600"}',
        "null",
        '"text"',
        "-0",
    ],
    ids=lambda body: body[:20],
)
def test_what_is_awkward_comes_back_equal(loader: Loader, session: Session, body: str) -> None:
    assert loader.load([batch([resource("a", BODY=body)], [request("m-1")])]).set_aside == 0
    assert read(session.value('SELECT "BODY" FROM "RESOURCES"')) == read(body)
