"""What a message may say of what is kept: ``select``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadMessage
from pipeline.message_format import selects
from tests.unit.message_fixture import a_message, a_request, parse, refusal


def test_an_expression_is_carried_to_where_it_is_applied() -> None:
    first, second = parse(a_message(a_request(select="{id: id}"), a_request())).requests
    assert first.select == "{id: id}"
    assert second.select is None


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("properties.", "at character 12"),
        ("a[", "ends too early"),
        ("a = b", "Unknown token '=' at character 3"),
        ("'open", "Unclosed ' delimiter at character 1"),
        ("a b", "at character 3"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("lower(name)", "calls lower(), which is no function"),
        ("a[?starts_with(name)]", "calls starts_with() with 1 arguments; takes 2"),
        ("merge()", "calls merge() with 0 arguments; takes at least 1"),
        ("`NaN`", "literal"),
        ("[`1e999`]", "literal"),
        ('`"\\ud800"`', "literal"),
        ("(" * 900, "nested more than 64 deep"),
        ("@|" * 900 + "@", "nested more than 64 deep"),
        ("[" * 65 + "@" + "]" * 65, "nested more than 64 deep"),
        ("`" + "[" * 1_100 + "`", ""),
        ("a" * 2_049, "has 2049 characters; takes up to 2048"),
    ],
)
def test_what_cannot_be_applied_is_refused_with_what_is_wrong_and_where(
    expression: str, said: str
) -> None:
    error = refusal(a_message(a_request(), a_request(select=expression)))
    assert error.reason == "bad select"
    assert "api_requests[1].select" in error.detail
    assert said in error.detail
    assert len(error.detail) < 500


def test_one_of_another_type_is_named_with_its_place() -> None:
    error = refusal(a_message(a_request(select={"id": "id"})))
    assert error.reason == "wrong type"
    assert "api_requests[0].select is an object; takes a string" in error.detail


def test_a_head_has_nothing_to_select_from() -> None:
    error = refusal(a_message(a_request(select="id", method="HEAD")))
    assert (error.reason, "HEAD" in error.detail) == ("bad select", True)


def test_null_is_no_expression() -> None:
    assert parse(a_message(a_request(select=None))).requests[0].select is None


@given(st.text(st.sampled_from("ab0.,:@&|*[](){}?!<>='\"`\\- \n\ud7ff"), max_size=40) | st.text())
def test_any_text_is_an_expression_or_a_refusal(expression: str) -> None:
    refused = None
    try:
        selects.check_select(expression, "GET", "api_requests[0]")
    except BadMessage as error:
        refused = error
    if refused is not None:
        assert refused.reason == "bad select"
        assert refused.detail.startswith("api_requests[0].select ")
        assert "\n" not in refused.detail


def test_only_so_much_is_remembered() -> None:
    before = selects._kept.cache_info().currsize
    selects.syntax_of("a" * 1_000)
    assert selects._kept.cache_info().currsize == before
    assert not selects._Parser._CACHE
    assert selects.syntax_of("a.b") is selects.syntax_of("a.b")
