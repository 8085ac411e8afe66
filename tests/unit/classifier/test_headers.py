"""What the classifier reads of header fields, and what it must not read."""

from __future__ import annotations

import pytest

from filterd.classifier.headers import MAX_LINES, header_lines, received_clause, shape
from filterd.mail.message import Message


def lines(octets: bytes) -> list[str]:
    return header_lines(Message(octets + b"\r\n\r\n").fields)[0]


@pytest.mark.parametrize(
    "name",
    [
        "Authentication-Results",
        "Received-SPF",
        "Return-Path",
        "Delivered-To",
        "Status",
        "X-Spam-Flag",
        "X-Virus-Scanned",
        "X-MS-Exchange-Organization-SCL",
        "X-Filterd-Score",
        "X-Barracuda-Spam-Score",
        "X-MailScanner",
        "X-UIDL",
    ],
)
def test_what_a_receiving_site_adds_is_not_read(name: str) -> None:
    assert lines(f"{name}: yes\r\nSubject: x".encode()) == ["subject: x"]


def test_signatures_say_only_who_signed() -> None:
    assert lines(b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x; bh=abc; b=def") == [
        "dkim-signature: d=example.org"
    ]


def test_dates_and_years_are_not_read() -> None:
    text = "\n".join(
        lines(
            b"Date: Mon, 02 Mar 2026 10:11:12 +0100 (CET)\r\n"
            b"Message-ID: <20260302101112.77@a.example>\r\n"
            b"References: <20250101@a.example>\r\n <20260101@b.example>\r\n"
            b"Received: from a by b with ESMTP id x2026; Mon, 02 Mar 2026 10:11:13 +0100\r\n"
            b'Content-Type: multipart/mixed; boundary="=_2026_0302"'
        )
    )
    assert "2026" not in text
    assert "2025" not in text
    assert "date: time +0100 (CET)" in text
    assert "@a.example" in text


def test_received_keeps_who_and_how() -> None:
    value = "from a.example (b.example [192.0.2.1]) by c.example (Postfix) with ESMTPS id 5F for <x@y.example>; Mon, 2 Mar 2026"
    assert received_clause(value) == "from a.example (b.example [192.0.2.1]) by c.example (Postfix) with ESMTPS"


def test_encoded_words_are_decoded() -> None:
    assert lines(b"Subject: =?utf-8?b?R3LDvMOfZQ==?=") == ["subject: Grüße"]


def test_shape() -> None:
    assert shape("000001c2c9f6$585d81e1$") == "9a9a9a9$9a9a9$"


def test_lines_are_bounded() -> None:
    found, names = header_lines(Message(b"X-A: b\r\n" * 5000 + b"\r\n").fields)
    assert len(found) == len(names) == MAX_LINES
    assert max(map(len, lines(b"Subject: " + b"x " * 5000))) < 300


def test_the_topmost_received_fields_are_read_and_all_are_counted() -> None:
    octets = b"".join(b"Received: from hop%d.example by mx.example; now\r\n" % number for number in range(7))
    found = lines(octets + b"\r\n")
    assert [line for line in found if line.startswith("received")] == [
        f"received: from hop{number}.example by mx.example" for number in range(4)
    ]
    assert "hops 7" in found
