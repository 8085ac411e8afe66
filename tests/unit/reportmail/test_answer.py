"""The answer to a report: short, nobody else's words in its header, nothing in it to click."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import Mailbox
from filterd.mail.message import Message
from filterd.reportmail.answer import MAX_LINES, Heading, Line, compose, done_text, quoted

POSTMASTER, ANNA = Mailbox("postmaster", "reports.example.org"), Mailbox("anna", "example.org")


def heading(reply_to: str = "<report@example.org>") -> Heading:
    return Heading(POSTMASTER, ANNA, reply_to, "06H0KA497Z54F66G.spam", 1_795_000_000_000)


def test_an_automatic_answer_says_that_it_is_one() -> None:
    message = Message(compose(heading(), "Thank you.\n"))
    fields = {field.key: field.value for field in message.fields}
    assert fields["from"] == "<postmaster@reports.example.org>"
    assert fields["to"] == "<anna@example.org>"
    assert fields["auto-submitted"] == "auto-replied"
    assert fields["in-reply-to"] == fields["references"] == "<report@example.org>"
    assert fields["message-id"] == "<06H0KA497Z54F66G.spam@reports.example.org>"
    assert fields["date"] == "Wed, 18 Nov 2026 11:06:40 +0000"
    assert base64.b64decode(bytes(message.octets[message.body_start :])) == b"Thank you.\n"


@pytest.mark.parametrize(
    "reply_to", ["", "none", "<a@b>\r\nBcc: x@y.example", "<a b@c>", "<ä@b>", "<" + "a" * 600 + ">"]
)
def test_a_name_that_is_none_is_not_repeated(reply_to: str) -> None:
    message = Message(compose(heading(reply_to), "x"))
    assert not message.all("in-reply-to")
    assert not message.all("bcc")


@given(st.text(max_size=80), st.text(max_size=200))
def test_any_words_make_one_message(reply_to: str, text: str) -> None:
    octets = compose(heading(reply_to), text)
    assert octets.isascii()
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert len(Message(octets).all("from")) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (Line("Offer", "spam", "counting"), '- "Offer": counted as spam\n'),
        (Line("Offer", "phish", "counting", True), '- "Offer": counted as phishing (reported before)\n'),
        (Line("Offer", "ham", "held"), '- "Offer": an administrator looks at it before it counts as not spam\n'),
        (Line("", "spam", "refused"), '- "(no subject)": it cannot be used\n'),
    ],
)
def test_what_was_done(line: Line, said: str) -> None:
    assert said in done_text([line], [], 0)


def test_nothing_attached() -> None:
    assert "nothing was attached" in done_text([], [], 0)


def test_problems_and_what_was_too_much() -> None:
    text = done_text([Line("Offer", "spam", "counting")] * 40, ["a.msg: the compound file is broken"], 3)
    assert "16 more" in text
    assert "3 more attached" in text
    assert text.count("\n- ") == MAX_LINES + 1
    assert "a[.]msg: the compound file is broken; it cannot be used" in done_text(
        [], ["a.msg: the compound file is broken"], 0
    )


@given(st.text(max_size=300))
def test_a_strangers_words_cannot_be_clicked(text: str) -> None:
    shown = quoted(text + " http://evil.example/x www.evil.example a@evil.example")
    assert "://" not in shown
    assert "\n" not in shown
    assert "www." not in shown
    assert len(shown) <= 300
