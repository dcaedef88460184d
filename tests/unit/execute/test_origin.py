"""A link is followed only to the configured origin, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.execute.origin import MAX_LINK_CHARS, ForeignLink, Origin

ARM = Origin.parse("https://management.azure.com")
TARGET = "/subscriptions/s/providers/Microsoft.Compute/virtualMachines?api-version=2024-07-01"


@pytest.mark.parametrize(
    ("link", "followed"),
    [
        ("https://management.azure.com/a?b=c", "/a?b=c"),
        ("HTTPS://Management.Azure.COM/A", "/A"),
        ("https://management.azure.com:443/a", "/a"),
        ("https://management.azure.com:/a", "/a"),
        ("https://management.azure.com", "/"),
        ("https://management.azure.com?x=1", "/?x=1"),
        ("//management.azure.com/a", "/a"),
        ("/a/b?c=d", "/a/b?c=d"),
        ("?$skiptoken=x", TARGET.partition("?")[0] + "?$skiptoken=x"),
        ("/a#fragment", "/a"),
        ("https://management.azure.com/a?b=c#https://evil", "/a?b=c"),
        ("/a?token=x y", "/a?token=x%20y"),
        ("/a?u=https://evil.example/", "/a?u=https://evil.example/"),
        ("/a?u=me@evil.example", "/a?u=me@evil.example"),
        ("  /a  ", "/a"),
    ],
)
def test_links_to_the_origin_are_followed(link: str, followed: str) -> None:
    assert ARM.follow(TARGET, link) == followed


@pytest.mark.parametrize(
    "link",
    [
        "https://management.azure.com.attacker/a",
        "https://management.azure.comattacker/a",
        "https://attacker/management.azure.com",
        "https://xmanagement.azure.com/a",
        "https://management.azure.com@attacker/a",
        "https://user@management.azure.com/a",
        "https://user:pw@management.azure.com/a",
        "https://@management.azure.com/a",
        "https://management.azure.com:8443/a",
        "https://management.azure.com:80/a",
        "https://management.azure.com:99999/a",
        "https://management.azure.com:x/a",
        "http://management.azure.com/a",
        "http://management.azure.com:443/a",
        "//attacker/a",
        "///attacker/a",
        "////attacker/a",
        "https:///attacker/a",
        "https:/attacker/a",
        "https:attacker/a",
        "\\\\attacker\\a",
        "/\\attacker/a",
        "https:\\\\attacker/a",
        "https://management.azure.com\\@attacker/a",
        "https://management.azure.com./a",
        "https://management.azure.com%2eattacker/a",
        "https://management.azure.com%00.attacker/a",
        "https://management\u3002azure\u3002com/a",
        "https://management\uff0eazure\uff0ecom/a",
        "https://m\u0430nagement.azure.com/a",
        "https://management.azure.com\u2100.attacker/a",
        "https://[::1]/a",
        "https://[management.azure.com]/a",
        "https://[::1/a",
        "https://20.62.128.1/a",
        "https://2130706433/a",
        "https://0x7f000001/a",
        "ftp://management.azure.com/a",
        "javascript:alert(1)",
        "data:text/plain,a",
        "file:///etc/passwd",
        "/a\r\nHost: attacker",
        "/a\tb",
        "/a\x00",
        "/a\x7f",
        "https://management.azure.com\n.attacker/a",
        "/" + "a" * MAX_LINK_CHARS,
    ],
)
def test_everything_else_is_refused(link: str) -> None:
    with pytest.raises(ForeignLink):
        ARM.follow(TARGET, link)


@pytest.mark.parametrize(
    "link",
    ["http://2130706433:8080/a", "http://0x7f.1:8080/a", "http://0177.0.0.1:8080/a",
     "http://127.1:8080/a", "http://localhost:8080/a", "http://[::ffff:127.0.0.1]:8080/a"],
)  # fmt: skip
def test_another_spelling_of_an_address_is_another_origin(link: str) -> None:
    with pytest.raises(ForeignLink):
        Origin.parse("http://127.0.0.1:8080").follow("/", link)


def test_a_letter_that_lower_case_turns_into_ascii_is_refused() -> None:
    with pytest.raises(ForeignLink):
        Origin.parse("https://kind.example").follow("/", "https://\u212aind.example/a")


def test_a_relative_link_from_a_path_with_two_slashes_stays() -> None:
    assert ARM.follow("//attacker/a", "?b=c") == "//attacker/a?b=c"


def test_a_refusal_says_neither_user_nor_password() -> None:
    with pytest.raises(ForeignLink) as refused:
        ARM.follow(TARGET, "https://user:secret@attacker/a")
    assert "secret" not in str(refused.value)


def test_addresses_of_six_groups_keep_their_brackets() -> None:
    origin = Origin.parse("http://[::1]:8080")
    assert str(origin) == "http://[::1]:8080"
    assert origin.follow("/", "http://[::1]:8080/a") == "/a"


@pytest.mark.parametrize("url", ["", "management.azure.com", "https://", "/a", "https://a b/"])
def test_what_is_no_absolute_url_has_no_origin(url: str) -> None:
    with pytest.raises(ForeignLink):
        Origin.parse(url)


@given(st.text(max_size=60), st.sampled_from(["", "https:", "//", "https://", str(ARM)]))
def test_any_text_is_refused_or_a_target(text: str, prefix: str) -> None:
    try:
        followed = ARM.follow(TARGET, prefix + text)
    except ForeignLink:
        return
    assert followed.startswith("/")
    assert not set(followed) & {chr(code) for code in (*range(0x21), 0x7F, 0x5C)}
