"""What an expression keeps of a resource, and what it may cost."""

from __future__ import annotations

import decimal
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.message_format.selects import check_select
from stages.execute import rows as rows_module
from stages.execute import selecting
from stages.execute.rows import BodyTooLarge, RowMaker, parse_page
from stages.execute.selecting import SelectFailed, Selector
from tests.unit.execute.made import planned

RESOURCE = """{
    "id": "/a", "name": "é\\u0000\\ud83d\\ude00", "price": 1.10, "huge": 1e400, "tiny": -0.00,
    "whole": 123456789012345678901234567890, "prices": [3.00, 1.50, 2], "on": true,
    "tags": {"b": "1", "a": null}, "zones": ["2", "1"],
    "disks": [{"n": "x", "gb": 30}, {"n": "y", "gb": 8.0}, {"n": "z"}]
}"""


def selected(expression: str, resource: str = RESOURCE) -> str:
    check_select(expression, "GET", "x")
    return Selector(expression).select(resource.encode()).decode()


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("{price: price, all: [huge, tiny, whole]}",
         '{"price":1.10,"all":[1e400,-0.00,123456789012345678901234567890]}'),
        ("prices", "[3.00,1.50,2]"),
        ("sort(prices)", "[1.50,2,3.00]"),
        ("max(prices)", "3.00"),
        ("sum(prices)", "6.5"),
        ("avg(prices)", "2.1666666666666665"),
        ("to_number(price)", "1.10"),
        ("to_number('7')", "7"),
        ("to_string(prices)", '"[3.00,1.50,2]"'),
        ("type(price)", '"number"'),
        ("floor(price)", "1"),
        ("prices[?@ > `1.6`]", "[3.00,2]"),
        ("price == `1.1`", "true"),
        ("disks[?gb > `10`].n", '["x"]'),
        ("sort_by(disks[?gb], &gb)[].gb", "[8.0,30]"),
        ("name", '"é\\u0000\U0001f600"'),
        ("merge(tags, {c: id})", '{"b":"1","a":null,"c":"/a"}'),
        ("keys(tags)", '["b","a"]'),
        ("join('-', zones)", '"2-1"'),
        ("nothing.there", "null"),
        ("tags.a", "null"),
        ("on", "true"),
        ("{none: nothing}", '{"none":null}'),
    ],
)  # fmt: skip
def test_what_is_kept_keeps_its_digits(expression: str, kept: str) -> None:
    assert selected(expression) == kept


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("sum(zones)", "sum() takes array-number, got string"),
        ("length(price)", "length() takes string or array or object, got number"),
        ("sum([on])", "got boolean"),
        ("sort_by(disks, &gb)", "sort_by() takes number, got null"),
        ("floor(huge)", "OverflowError"),
        ("abs(huge)", "inf comes of it"),
        ("[to_number('nan')]", "nan comes of it"),
        ("prices[::0]", "step"),
        ("price < id", "TypeError"),
        ("&id", "no JSON value"),
        ("to_string(&id)", "no JSON value"),
    ],
)
def test_what_cannot_be_is_told_and_quotes_nothing_of_the_resource(
    expression: str, said: str
) -> None:
    with pytest.raises(SelectFailed) as told:
        selected(expression)
    assert said in str(told.value)
    assert "/a" not in str(told.value)


@pytest.mark.parametrize(
    "resource",
    ['{"n":' + "1" * 5_000 + "}", '{"n":"\\ud800"}', '{"n":' + "[" * 5_000 + "]" * 5_000 + "}"],
)
def test_a_resource_that_python_cannot_hold_is_told(resource: str) -> None:
    with pytest.raises(SelectFailed, match="cannot be read"):
        selected("n", resource)


@pytest.mark.parametrize(
    "expression",
    [
        "|".join(["[@,@]"] * 60),
        "|".join(["[@,@][]"] * 60),
        "|".join(["{a:@,b:@}"] * 60) + "|to_string(@)",
        "|".join(["join(id, [id,id,id,id,id,id,id,id])|{id:@}"] * 30),
        "|".join(["[@,@][]"] * 14) + "|" + "|".join(["map(&[@], @)"] * 20),
        "|".join(["[to_string(@), to_string(@)]"] * 40),
    ],
)
def test_a_short_expression_that_asks_for_very_much_is_ended(expression: str) -> None:
    began_s = time.process_time()
    with pytest.raises(SelectFailed, match="too much work"):
        selected(expression)
    assert time.process_time() - began_s < 2.0


def test_a_large_resource_may_cost_more_than_a_small_one() -> None:
    many = json.dumps({"list": [{"n": number, "on": number % 2 == 0} for number in range(20_000)]})
    kept = json.loads(selected("{even: list[?on].{n: n, on: on}, odd: list[?!on].n}", many))
    assert (len(kept["even"]), len(kept["odd"])) == (10_000, 10_000)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(values, st.decimals(allow_nan=False, allow_infinity=False))
def test_whatever_json_comes_the_whole_of_it_may_be_kept(
    value: Any, number: decimal.Decimal
) -> None:
    text = json.dumps({"value": value})[:-1] + f',"number":{number:E}}}'
    kept = selected("@", text)
    exact = json.JSONDecoder(parse_float=decimal.Decimal)
    assert exact.decode(kept) == exact.decode(text)
    assert kept.endswith(f'"number":{number:E}}}')


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────

VM = "/subscriptions/S1/resourceGroups/rg-1/providers/Microsoft.Compute/virtualMachines/vm-1"
LISTED = [
    {"id": VM, "type": "T/x", "name": "vm-1", "location": "westeurope", "properties": {"gb": 1.5}},
    {"id": VM + "2", "properties": {}},
]


def maker(select: str | None) -> RowMaker:
    request = planned()
    request = type(request)(*[getattr(request, n) for n in request.__struct_fields__[:-1]], select)
    return RowMaker("m-1", request)


def made(select: str | None, listed: Any = LISTED) -> list[Any]:
    return maker(select).rows(parse_page(json.dumps(listed).encode(), graph=False), 7)


def test_a_row_says_what_the_whole_resource_says_and_keeps_what_is_selected() -> None:
    whole, kept = made(None, {"value": LISTED}), made("properties.gb", {"value": LISTED})
    assert [row.body for row in kept] == [b"1.5", b"null"]
    for before, after in zip(whole, kept, strict=True):
        assert after.body_hash == rows_module._digest(after.body) != before.body_hash
        for name in before.__struct_fields__:
            if name not in ("body", "body_hash"):
                assert getattr(before, name) == getattr(after, name)


def test_an_answer_that_is_no_list_is_selected_from_as_a_whole() -> None:
    (row,) = made("value.name", {"value": {"name": "n"}})
    assert row.body == b'"n"'
    (row,) = maker("name").rows(parse_page(b"", graph=False), 7)
    assert row.body is None


def test_the_digest_of_all_is_of_what_azure_gave_whatever_is_kept() -> None:
    def digest(select: str | None, *pages: str) -> str:
        rows = maker(select)
        for page in pages:
            rows.rows(parse_page(page.encode(), graph=False), 7)
        return rows.body_hash

    one = digest(None, '{"value":[{"id":"/a","n":1},{"id":"/b"}]}')
    assert one == digest("id", '{"value":[{"id":"/a","n":1},{"id":"/b"}]}')
    assert one == digest("id", '{"value":[{"id":"/a","n":1}]}', '{"value":[{"id":"/b"}]}')
    assert one != digest("id", '{"value":[{"id":"/a","n":2},{"id":"/b"}]}')
    assert one != digest("id", '{"value":[{"id":"/b"},{"id":"/a","n":1}]}')
    assert digest(None, "") != digest(None, '{"value":[]}')


def test_the_element_that_it_fails_at_is_named() -> None:
    rows = maker("length(properties.gb)")
    with pytest.raises(SelectFailed, match=r"element 0: length\(\) takes"):
        rows.rows(parse_page(json.dumps({"value": LISTED}).encode(), graph=False), 7)


def test_what_is_made_is_no_larger_than_a_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_BODY_BYTES", 30)
    with pytest.raises(BodyTooLarge, match="select makes 45 bytes of element 0"):
        made("[id,id,id,id]", {"value": [{"id": "/abcdefg"}]})
    assert selecting.MAX_WORK > 16 * 1024 * 1024
