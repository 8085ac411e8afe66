"""The envelope's grammar: RFC 5321 4.1.2 and its bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import parse_mailbox, split_path
from tests.support.growth import assert_growth

GOOD = [
    "a@b",
    "anna.b@example.org",
    '"a b"@example.org',
    '"a\\"b"@example.org',
    "a+tag@example.org",
    "x@[192.0.2.1]",
    "x@[IPv6:2001:db8::1]",
    "jörg@exämple.org",
    "o'brien@under_score.example",
    "a" * 242 + "@example.org",  # as long as a path may be; for forward-paths frontends/smtp/arguments.py asks for less
    '""@example.org',
    "a@[IPV6:::1]",
]
BAD = [
    "",
    "a",
    "@b",
    "a@",
    "a@@b",
    "a..b@example.org",
    ".a@example.org",
    "a b@example.org",
    "a@-b.example",
    "a@b..c",
    "a@[999.1.1.1]",
    "a" * 243 + "@example.org",
    "\u00fc" * 130 + "@example.org",
    'a."b"@example.org',
    "a@[IPv6:fe80::1%x y]",
    "a@[192.0.2.01]",
    "a@[::1]",
    "a@[x400:c=de]",
    "a\x85@example.org",
    "a@ex\u202eample.org",
    "a\ud800@example.org",
    "a@\udc80.example.org",
    "a@" + "b." * 127 + "bc",
    "a\x00@example.org",
    "a@example.org\r\nRCPT TO:<x@y>",
    '"a@example.org',
]


@pytest.mark.parametrize("text", GOOD)
def test_mailboxes_that_exist(text: str) -> None:
    assert str(parse_mailbox(text)) == text


def test_a_trailing_dot_and_a_look_alike_letter() -> None:
    dotted, kelvin = parse_mailbox("bob@Example.org."), parse_mailbox("bob@ban\u212a.example")
    assert dotted is not None
    assert kelvin is not None
    assert (dotted.key, dotted.domain) == ("bob@example.org", "Example.org")
    assert kelvin.domain_key != "bank.example"


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_mailbox(text: str) -> None:
    assert parse_mailbox(text) is None


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("<a@b>", ("a@b", "")),
        ("<>", ("", "")),
        ("<a@b> SIZE=10 BODY=8BITMIME", ("a@b", "SIZE=10 BODY=8BITMIME")),
        ("<@hop.example,@two.example:a@b>", ("a@b", "")),
        ('<"a>b"@c>', ('"a>b"@c', "")),
        ("a@b", None),
        ("<a@b", None),
        ("<a@b>SIZE=1", None),
        ("<@hop.example>", None),
        ("<@:a@b>", None),
        ("<@hop.example,two.example:a@b>", None),
    ],
)
def test_paths(argument: str, expected: tuple[str, str] | None) -> None:
    assert split_path(argument) == expected


@given(st.text(max_size=400))
def test_any_text_is_answered_and_what_is_accepted_is_harmless(text: str) -> None:
    split_path(text)
    mailbox = parse_mailbox(text)
    if mailbox is not None:
        assert not set(str(mailbox)) & {"\r", "\n", "\x00", "<"} or mailbox.local.startswith('"')
        assert "\r" not in str(mailbox)
        assert "\n" not in str(mailbox)


@pytest.mark.parametrize("piece", ["a.", '"', "\\", '"\\', "<", "@", ">"])
def test_time_grows_no_faster_than_the_text(piece: str) -> None:
    def prepare(length: int) -> Callable[[], object]:
        text = "<" + piece * length
        return lambda: (split_path(text), parse_mailbox(text))

    assert_growth(prepare, 8_000, 64_000, 20)
