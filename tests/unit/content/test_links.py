"""Where the links of a message lead, and what their text says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.html import Anchor
from filterd.content.links import MAX_LINKS, Link, links_in, links_of, named_in, takes_long
from filterd.content.mime import walk
from filterd.content.view import ContentView, TextPart
from filterd.mail.message import Message
from tests.support.growth import assert_growth

PART = walk(Message(b"Subject: x\r\n\r\ny\r\n")).parts[0]


def html(body: str) -> tuple[Link, ...]:
    return links_in(Message(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + body.encode()))


def text(body: str) -> list[tuple[str, str]]:
    message = Message(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body.encode())
    return [(link.host, link.where) for link in links_in(message)]


def test_link_text_that_names_another_host() -> None:
    (first, second, third, *_) = html(
        '<a href="http://evil.example/x">https://www.bank.example/login</a>'
        '<a href="http://evil.example/y">bank.com</a> <a href="http://evil.example/z">Press here, as bank.com says</a>'
    )
    assert (first.host, first.where, first.named) == ("evil.example", "anchor", "bank.example")
    assert (second.named, second.shown) == ("bank.com", "bank.com")
    assert third.named == ""


@pytest.mark.parametrize(
    ("shown", "named"),
    [
        (b"www.bank.com", "bank.com"),
        (b" <https://mail.bank.co.uk/x> ", "bank.co.uk"),
        (b"http://bank.com is safe", "bank.com"),
        (b"bank.com", "bank.com"),
        (b"bank.com and more", ""),
        (b"joe@bank.com", ""),
        (b"version 1.2", ""),
        (b"readme.md", ""),
        (b"", ""),
        (b"\xff.\xfe", ""),
    ],
)
def test_named_in(shown: bytes, named: str) -> None:
    assert named_in(shown) == named


def test_pictures_and_forms_are_attributes() -> None:
    found = html('<img src="//cdn.example/x.png"><form action="https://collect.example/"><img src="cid:1">')
    assert [(link.host, link.where) for link in found] == [
        ("cdn.example", "attribute"),
        ("collect.example", "attribute"),
    ]


@pytest.mark.parametrize(
    "target",
    [
        "https://www.google.com/url?q=https://evil.example/a&amp;sa=D",
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.example%2F%3Fx%3D1&amp;data=05",
        "https://urldefense.proofpoint.com/v1/url?u=http://evil.example/&amp;k=1",
        "https://urldefense.proofpoint.com/v2/url?u=https-3A__evil.example_path&amp;d=DwMF",
        "https://urldefense.com/v3/__https://evil.example/path__;!!abc$",
        "https://urldefense.com/v3/__https:/evil.example/path__;!!abc$",
        "https://urldefense.com/v3/__https://evil.example__;!!abc$",
        "https://click.example/r?to=https://evil.example;x=1",
        "https://click.example/r?to=https://user@evil.example)",
        "https://click.example/r/https://evil.example,1",
        "https://click.example/r?to=https%3A%2F%2Fevil.example%26x%3D1",
        "https://click.example/r?to=//evil.example/x",
        "https://cache.example/https://evil.example/x",
        "https://click.example/r#u=http%253A%252F%252Fevil.example",
    ],
)
def test_an_address_inside_an_address(target: str) -> None:
    outer, inner = html(f'<a href="{target}">x</a>')
    assert outer.onward == ("evil.example",)
    assert (inner.host, inner.where) == ("evil.example", "redirect")


@pytest.mark.parametrize("before", ["https://" + "www.bank.example." * 400 + "@", " \t" * 3_000 + "https://"])
def test_a_target_may_be_long_before_its_host(before: str) -> None:
    (link,) = html(f'<a href="{before}evil.example/">x</a>')
    assert (link.host, link.where, link.userinfo) == ("evil.example", "anchor", "@" in before)


def test_addresses_inside_addresses_end_somewhere() -> None:
    found = html('<a href="http://a.example/?u=http%3A%2F%2Fb.example%3Fu%3Dhttp%253A%252F%252Fc.example">x</a>')
    assert [link.host for link in found] == ["a.example", "b.example", "c.example"]
    many = "".join(f"&amp;u=http://h{number}.example" for number in range(50))
    assert len(html(f'<a href="http://a.example/?{many}">x</a>')) == 6


def test_plain_text() -> None:
    assert text("See http://one.example/x, or (https://two.example).\r\nwww.three.example four.com/path five.org") == [
        ("one.example", "text"),
        ("two.example", "text"),
        ("four.com", "bare"),
        ("five.org", "bare"),
    ]
    assert text("www.three.com and „six.de“ and müller.de, http://пример.рф/а 请访问seven.com。") == [
        ("xn--e1afmkfd.xn--p1ai", "text"),
        ("www.three.com", "bare"),
        ("six.de", "bare"),
        ("xn--mller-kva.de", "bare"),
        ("seven.com", "bare"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        "joe@example.com john.me@example.com git@example.com:x",
        "hxxp://example[.]com hxxps://evil.example example(.)com",
        "readme.md setup.py run.sh node.js 1.2.3 e.g. i.e. end.Begin ...com a..com",
        "/usr/lib/foo.com/x ?next=foo.com",
        "mailto:joe@example.com",
        "object.name(x) com. .com",
    ],
)
def test_what_is_no_link(words: str) -> None:
    assert text(words) == []


def test_a_file_name_is_a_link_before_a_path_or_behind_www() -> None:
    assert text("notes.md/x www.notes.md") == [("notes.md", "bare"), ("www.notes.md", "bare")]


def test_padding_hides_no_link() -> None:
    targets = [f"http://good{number}.example/".encode() for number in range(2000)]
    part = TextPart(PART, b"", anchors=tuple(Anchor(target, b"") for target in [*targets, b"http://evil.example/"]))
    found = links_of(ContentView((), (part,), ()))
    assert len(found) == MAX_LINKS
    assert "evil.example" in {link.host for link in found}


def test_hosts_that_have_no_link_yet_come_first() -> None:
    same = [Anchor(b"http://good.example/", str(number).encode()) for number in range(400)]
    part = TextPart(PART, b"", anchors=(*same, Anchor(b"http://evil.example/", b"x")))
    found = links_of(ContentView((), (part,), ()))
    assert len(found) == MAX_LINKS
    assert [link.host for link in found[:2]] == ["good.example", "evil.example"]


def test_found_once_for_a_message() -> None:
    message = Message(b"Content-Type: text/plain\r\n\r\nhttp://one.example")
    assert links_in(message) is links_in(message)


def test_many_targets_take_long_until_they_are_known() -> None:
    head = b"Content-Type: text/html; charset=utf-8\r\n\r\n"
    many, few = (Message(head + b"<a href=//a.example/>x</a>" * count) for count in (60, 40))
    assert (takes_long(many), takes_long(few)) == (True, False)
    links_in(many)
    assert not takes_long(many)
    assert takes_long(Message(head + b"x" * 70_000))


@given(st.binary(), st.binary(), st.binary())
def test_any_octets(body: bytes, target: bytes, shown: bytes) -> None:
    part = TextPart(PART, body.lower(), anchors=(Anchor(target, shown),), targets=(target,), tail=body)
    found = links_of(ContentView((), (part,), ()))
    assert len(found) <= MAX_LINKS
    assert all(link.host.isascii() for link in found)


@given(
    st.lists(st.sampled_from(["http://", "a", ".", "com", "@", "/", "%2f", "ü", " ", "www.", "?u=", ":"]), max_size=60)
)
def test_any_pieces(pieces: list[str]) -> None:
    assert all(link.host for link in html("".join(pieces)))


def test_linear() -> None:
    for piece in (
        b"http://a.com ",
        b"a.com ",
        b"a.",
        b".com",
        b"com.com.",
        b"://",
        b"a.com/",
        b"\xc3\xbc.com",
        b"www.",
    ):

        def prepare(size: int, piece: bytes = piece) -> object:
            part = TextPart(PART, piece * size, anchors=(Anchor(piece * size, piece * size),))
            return lambda: links_of(ContentView((), (part,), ()))

        assert_growth(prepare, 2_000, 16_000, 20)  # type: ignore[arg-type]
