"""Facts of the header section: honest mail has few, and whatever comes has some answer."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.shape import shape_facts
from filterd.mail.message import Message
from tests.support.growth import assert_growth

HONEST = {
    "thunderbird": (
        "Received: from [192.0.2.7] (client.example.com [192.0.2.7])\r\n\tby mail.example.com (Postfix) with ESMTPSA id 1\r\n"
        "\tfor <anna@example.org>; Mon, 23 Nov 2026 10:00:02 +0100 (CET)\r\n"
        "Message-ID: <1b3a2c@example.com>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n"
        "User-Agent: Mozilla Thunderbird\r\nSubject: Re: =?UTF-8?Q?Pl=C3=A4ne?=\r\nTo: Anna Maier <anna@example.org>\r\n"
        "References: <1@example.org>\r\nIn-Reply-To: <1@example.org>\r\nFrom: Bob <bob@example.com>\r\n"
        "Content-Type: text/plain; charset=UTF-8; format=flowed\r\n"
    ),
    "outlook": (
        "Received: from EX1.example.com (192.0.2.8) by EX2.example.com\r\n (192.0.2.9) with Microsoft SMTP Server;"
        " Mon, 23 Nov 2026 10:00:01 +0000\r\n"
        'From: "Bob Builder" <bob@example.com>\r\nTo: "anna@example.org" <anna@example.org>\r\n'
        "Subject: RECHNUNG 4711\r\nThread-Topic: RECHNUNG 4711\r\nThread-Index: AdJ=\r\n"
        "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <AM0PR01MB1234@EX1.example.com>\r\n"
        "X-Mailer: Microsoft Outlook 16.0\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/alternative; boundary="x"\r\n'
    ),
    "newsletter": (
        "Received: by filterdrecv-1 with SMTP id 1-2; Mon, 23 Nov 2026 09:59:59 +0000 (UTC)\r\n"
        "From: Shop <news@shop.example>\r\nTo: anna@example.org\r\nReply-To: help@shop.example\r\n"
        "Subject: Your order is on its way\r\nDate: Mon, 23 Nov 2026 09:59:58 +0000 (UTC)\r\n"
        "Message-ID: <abc.def@mail.shop.example>\r\nMIME-Version: 1.0\r\nPrecedence: bulk\r\n"
        "List-Unsubscribe: <https://shop.example/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
    ),
}
EXPECTED = {
    "thunderbird": {"received-from-address"},
    "outlook": {"to-display-is-own-address"},
    "newsletter": {"mailer-none", "mime-html-alone", "bulk-unsubscribe", "bulk-one-click"},
}


def facts(header: str | bytes) -> set[str]:
    """The facts of a header section."""
    octets = header.encode() if isinstance(header, str) else header
    return set(shape_facts(Message(octets + b"\r\n")))


@pytest.mark.parametrize("name", sorted(HONEST))
def test_honest_mail(name: str) -> None:
    assert facts(HONEST[name]) == EXPECTED[name]


def test_the_facts_are_kept_with_the_message() -> None:
    message = Message(HONEST["outlook"].encode() + b"\r\n")
    assert shape_facts(message) is shape_facts(message)


_LINES = [
    b"From: ", b"To: ", b"Subject: ", b"Date: ", b"Message-ID: ", b"Received: ", b"X-Mailer: Microsoft Outlook", b"\r\n", b"\r\n ",
    b"<", b">", b"@", b"a@b.example", b"Mon, ", b"31 Feb 2020 ", b"1 Jan 99999 ", b"25:61:61", b" +9999", b" -0000", b"; ", b"=?utf-8?b?",
    b"?=", b"RE: ", b"\xff", b"\x00", b"\xe2\x80\x8b", b"Content-Type: multipart/mixed", b"MIME-Version: 1.0", b"Precedence: bulk",
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(_LINES), st.binary(max_size=12)), max_size=40).map(b"".join))
def test_whatever_comes_has_facts_and_none_of_them_is_a_failure_of_ours(octets: bytes) -> None:
    found = shape_facts(Message(octets))
    assert len(found) == len(set(found))
    assert all(re.fullmatch(r"[a-z0-9-]{5,40}", fact) for fact in found)
    assert not [fact for fact in found if fact.startswith("unreadable")]


@pytest.mark.parametrize(
    "piece",
    [
        b"a@",
        b"<",
        b"<@",
        b" \t",
        b"=?",
        b"1 Jan ",
        b"A ",
        b"0",
        b"Received: x; 1\r\n",
        b"To: a@b,\r\n",
        b"X: y\r\n",
        b"\r\n ",
    ],
)
@pytest.mark.parametrize(
    "field", ["From", "To", "Subject", "Date", "Message-ID", "Received", "X-Mailer", "Content-Type"]
)
def test_linear_time(field: str, piece: bytes) -> None:
    def prepare(size: int) -> Callable[[], object]:
        message = Message(field.encode() + b": " + piece * (size // len(piece)) + b"\r\n\r\n")
        assert message.fields
        assert message.ends_early in (True, False)

        def work() -> object:
            message.shared.clear()
            return shape_facts(message)

        return work

    assert_growth(prepare, 20_000, 80_000, 10)
