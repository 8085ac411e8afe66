"""What is said about a body that cannot be read as mail programs read it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from filterd.checks import mime
from filterd.checks.base import CheckContext
from filterd.checks.mime import Mime
from filterd.deadline import Deadline
from filterd.mail.envelope import Connection
from filterd.mail.evidence import Evidence, Reason, Result
from filterd.mail.message import Message
from tests.unit.classifier.mails import HAM, SPAM


def look(octets: bytes) -> Evidence:
    ctx = CheckContext(Connection(ip_address("192.0.2.1")), Deadline.after(60), message=Message(octets))
    (found,) = asyncio.run(Mime()(ctx))  # type: ignore[arg-type]  # a coroutine
    return found


@pytest.mark.parametrize("octets", [HAM, SPAM, b"\r\n", b"Subject: x\r\n\r\nwords"])
def test_ordinary_mail_passes(octets: bytes) -> None:
    assert look(octets).result is Result.PASS


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"Content-Type: multipart/mixed\r\n\r\nwords", "a multipart without a boundary that works"),
        (
            b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n<p>",
            "two Content-Type or Content-Transfer-Encoding fields in one header",
        ),
        (b"Content-Type: message/rfc822\r\n\r\n" * 30 + b"x", "parts nested deeper than mail is"),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 400 + b"--b--\r\n",
            "more parts than are looked at",
        ),
    ],
)
def test_what_is_broken_or_beyond_bounds_is_told(octets: bytes, words: str) -> None:
    found = look(octets)
    assert (found.result, found.reason, found.detail) == (Result.FAIL, Reason.MALFORMED, words)


def test_what_breaks_our_reading_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(message: Message) -> object:
        raise RecursionError

    monkeypatch.setattr("filterd.content.view.walk", broken)
    assert look(HAM).detail == "the body cannot be read"
    assert mime.Mime.name == "mime"


def test_nothing_before_the_message() -> None:
    ctx = CheckContext(Connection(ip_address("192.0.2.1")), Deadline.after(60))
    assert list(asyncio.run(Mime()(ctx))) == []  # type: ignore[arg-type]  # a coroutine
