"""Answers become rows whose bodies are the text that came."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stages.execute import rows as module
from stages.execute.rows import BodyTooLarge, BrokenBody, Page, RowMaker, error_of, parse_page
from tests.unit.execute.made import LIST, planned

VM = "/subscriptions/S1/resourceGroups/rg-1/providers/Microsoft.Compute/virtualMachines/vm-1"


def page(text: str | bytes, *, graph: bool = False) -> Page:
    return parse_page(text.encode() if isinstance(text, str) else text, graph=graph)


def maker(message_id: str = "m-1") -> RowMaker:
    return RowMaker(message_id, planned())


def keys(*pages: str, message_id: str = "m-1") -> list[str]:
    rows = maker(message_id)
    return [row.row_key for text in pages for row in rows.rows(page(text), 7)]


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ('{"value":[]}', []),
        ('{"value":[{"a":1},2,"x",null,[3]]}', [b'{"a":1}', b"2", b'"x"', b"null", b"[3]"]),
        ('\ufeff {"value" : [ {"a": 1.0} ] }\r\n', [b'{"a": 1.0}']),
        ('{"x":1,"value":[1],"y":{"value":[2]}}', [b"1"]),
        ('{"value":{"a":1}}', None),
        ('{"value":"[]"}', None),
        ('{"value":null}', None),
        ('{"id":"/a","properties":{}}', None),
        ("[1,2]", None),
        ("3", None),
        ("", None),
        ("  ", None),
    ],
)
def test_a_list_is_taken_apart(text: str, elements: list[bytes] | None) -> None:
    assert page(text).elements == elements


@pytest.mark.parametrize(
    "body",
    [
        '{"a":123456789012345678901234567890}',
        '{"a":1e400,"b":-0.0,"c":1.10}',
        '{"a":"\\u00e9\u00e9","a":2,  "z" : [ ]}',
    ],
)
def test_a_body_is_the_very_text_that_came(body: str) -> None:
    (element,) = maker().rows(page('{"value":[' + body + "]}"), 7)
    (single,) = maker().rows(page(body), 7)
    assert element.body == single.body == body.encode()
    assert element.body_hash == single.body_hash


@pytest.mark.parametrize("field", ["nextLink", "@odata.nextLink", "odata.nextLink"])
def test_the_next_link_has_several_names(field: str) -> None:
    text = msgspec.json.encode({"value": [], field: "https://x/?a=b"})
    assert page(text).next_link == "https://x/?a=b"


@pytest.mark.parametrize("link", ['""', '"  "', "null"])
def test_an_empty_next_link_is_none(link: str) -> None:
    assert page('{"value":[],"nextLink":' + link + "}").next_link is None


@pytest.mark.parametrize("link", ["1", "false", '{"href":"x"}', '["x"]'])
def test_a_next_link_that_is_no_text_never_passes_for_the_last_page(link: str) -> None:
    with pytest.raises(BrokenBody):
        page('{"value":[],"nextLink":' + link + "}")


def test_resource_graph_rows_are_in_data() -> None:
    listed = page('{"data":[{"id":"/a"}],"value":[1],"$skipToken":"t"}', graph=True)
    assert (listed.elements, listed.skip_token) == ([b'{"id":"/a"}'], "t")
    table = page('{"data":{"columns":[],"rows":[]}}', graph=True)
    assert (table.elements, table.skip_token) == (None, None)
    assert page('{"data":[1],"$skipToken":"t"}').skip_token is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"value":[{"a":1},{"b',
        b'{"value":[1]} {"value":[2]}',
        b'{"value":[1,]}',
        b'{"value":[NaN]}',
        b"<html>",
        b'{"value":["\xff"]}',
        b'{"a":"\xed\xa0\x80"}',
        '{"value":[]}'.encode("utf-16"),
        b'{"value":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_what_is_not_json_is_broken(body: bytes) -> None:
    with pytest.raises(BrokenBody):
        page(body)


def test_a_broken_page_counts_nothing_so_it_may_come_again() -> None:
    rows = maker()
    with pytest.raises(BrokenBody):
        rows.rows(page(b'{"value":[{"n":0},{"id":"\\ud800"}]}'), 7)
    assert rows.count == 0
    again = rows.rows(page('{"value":[{"n":0},{"id":"/a"}]}'), 7)
    assert [row.row_key for row in again] == keys('{"value":[{"n":0},{"id":"/a"}]}')


@pytest.mark.parametrize("text", ["", "{}", '{"error":{"code":"x"}}', "[]"])
def test_a_later_page_of_a_list_is_a_list(text: str) -> None:
    rows = maker()
    rows.rows(page('{"value":[{"id":"/a"}]}'), 7)
    with pytest.raises(BrokenBody):
        rows.rows(page(text), 7)


def test_what_azure_says_of_a_resource() -> None:
    text = msgspec.json.encode(
        {"value": [{"id": VM, "type": "T/x", "name": "vm-1", "location": "westeurope"}]}
    )
    (row,) = maker().rows(page(text), 7)
    assert (row.resource_id, row.resource_type, row.name, row.location) == (
        VM, "T/x", "vm-1", "westeurope",
    )  # fmt: skip
    assert (row.subscription_id, row.resource_group, row.collected_at_us) == ("s1", "rg-1", 7)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({"id": VM}, "Microsoft.Compute/virtualMachines"),
        ({"id": VM + "/extensions/e"}, "Microsoft.Compute/virtualMachines/extensions"),
        ({"id": VM + "/providers/Microsoft.Insights/x/y"}, "Microsoft.Insights/x"),
        ({"id": "/subscriptions/s1"}, None),
        ({"id": VM, "type": 3}, "Microsoft.Compute/virtualMachines"),
        ({"id": 3, "name": ["x"], "location": {}}, None),
    ],
)
def test_a_type_is_read_out_of_the_id(element: Any, expected: str | None) -> None:
    (row,) = maker().rows(page(msgspec.json.encode({"value": [element]})), 7)
    assert row.resource_type == expected


def test_a_usage_is_named_by_its_value() -> None:
    (row,) = maker().rows(page('{"value":[{"name":{"value":"cores"}}]}'), 7)
    assert (row.name, row.resource_id, row.subscription_id) == ("cores", None, "s1")


def test_an_answer_without_a_body_is_one_row() -> None:
    (row,) = maker().rows(page(""), 7)
    assert (row.body, row.body_hash, row.resource_id) == (None, None, LIST.partition("?")[0])


def test_keys_are_the_same_on_another_delivery_and_in_any_case() -> None:
    one = keys('{"value":[{"id":"/A"},{"id":"/b"},{"n":1}]}')
    assert one == keys('{"value":[{"id":"/a","new":1},{"id":"/B"}]}', '{"value":[{"n":2}]}')
    assert not set(one) & set(keys('{"value":[{"id":"/A"}]}', message_id="m-2"))


def test_the_same_id_or_none_twice_makes_two_rows() -> None:
    text = '{"value":[{"id":"/a"},{"id":"/a"},{"n":1},{"n":1},{"id":""},{"id":"/A"}]}'
    assert len(set(keys(text, text))) == 12


def test_a_resource_larger_than_a_variant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 10)
    assert maker().rows(page('{"value":["12345678"]}'), 7)
    with pytest.raises(BodyTooLarge, match="element 1 has 11 bytes"):
        maker().rows(page('{"value":[1,"123456789"]}'), 7)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"code":"C","message":"M"}}', ("C", "M")),
        (b'\xef\xbb\xbf{"error":{"code":"C","message":"M"}}', ("C", "M")),
        (b'{"code":"C","message":"M"}', ("C", "M")),
        (b'{"Code":"C","Message":"M"}', ("C", "M")),
        (b'{"odata.error":{"code":"C","message":{"value":"M"}}}', ("C", "M")),
        (b'{"error":"C","error_description":"M"}', ("C", "M")),
        (b'{"error":null,"code":"C"}', ("C", None)),
        (b'{"error":{"code":5,"message":[]}}', (None, None)),
        (b'{"error":[]}', (None, None)),
        (b'{"error":7}', (None, None)),
        (b"[]", (None, None)),
        (b'"text"', (None, None)),
        (b"<html>", (None, None)),
        (b"\xff", (None, None)),
        (b"", (None, None)),
        (b"[" * 100_000, (None, None)),
    ],
)
def test_error_bodies(body: bytes, expected: tuple[str | None, str | None]) -> None:
    assert error_of(body) == expected
