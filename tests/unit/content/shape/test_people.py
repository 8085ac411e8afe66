"""Who it is from and for, and its identifier."""

from __future__ import annotations

import pytest

from tests.unit.content.shape.test_shape import facts


def about(prefix: str, header: str) -> set[str]:
    return {fact for fact in facts(header) if fact.startswith(prefix)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<1@example.com>", set()),
        ("\r\n <1@mail.example.com>", set()),
        ("<1@localhost>", {"msgid-domain-unqualified", "msgid-domain-not-author"}),
        ("<1@[192.0.2.1]>", {"msgid-domain-address", "msgid-domain-not-author"}),
        ("<1@elsewhere.example>", {"msgid-domain-not-author"}),
        ("<1@mx.example.org>", {"msgid-domain-not-author", "msgid-domain-is-recipient"}),
        ("<@example.com>", {"msgid-no-left-side"}),
        ("1@example.com", {"msgid-no-brackets"}),
        ("<1234>", {"msgid-no-at"}),
        ("<1 2@example.com>", {"msgid-malformed"}),
        ("<1@2@example.com>", {"msgid-malformed"}),
        ("", {"msgid-empty"}),
        ("<000001c1a2b3$0d4e5f60$7082a00a@example.com>", {"msgid-outlook-by-another"}),
    ],
)
def test_message_id(value: str, expected: set[str]) -> None:
    assert about("msgid-", f"From: a@example.com\r\nTo: b@example.org\r\nMessage-ID: {value}\r\n") == expected


def test_outlook_may_write_ids_of_outlook() -> None:
    header = "From: a@example.com\r\nMessage-ID: <000001c1a2b3$0d4e5f60$7082a00a@example.com>\r\n"
    assert about("msgid-", header + "X-Mailer: Microsoft Outlook 16.0\r\n") == set()
    assert about("msgid-", header + "X-MimeOLE: Produced By Microsoft MimeOLE\r\n") == set()
    assert about("msgid-", "From: a@example.com\r\n") == {"msgid-missing"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Anna <anna@example.com>", set()),
        ("anna@example.com", {"from-bare-address"}),
        ("anna@example.com (Anna)", {"from-bare-address"}),
        ("<anna@example.com>", {"from-no-display"}),
        ('"" <anna@example.com>', {"from-no-display"}),
        ("Anna <a@example.com>, Bob <b@example.com>", {"from-two-addresses"}),
        ('"boss@bank.example" <x@example.com>', {"from-display-is-address"}),
        ('"x@example.com" <x@example.com>', {"from-display-is-own-address"}),
        ('"me@example.org" <x@example.com>', {"from-display-is-address", "from-display-is-recipient"}),
        ("me@example.org", {"from-bare-address", "from-is-to"}),
        ("Me <ME@example.ORG>", {"from-is-to"}),
        ("Anna <anna@host>", {"from-domain-unqualified"}),
        ("Anna <anna123456@example.com>", {"from-local-digits"}),
        ("=?utf-8?Q?Anna_Maier?= <anna@example.com>", {"from-encoded-for-nothing"}),
        ("=?utf-8?Q?J=C3=BCrgen?= <anna@example.com>", set()),
        ("Anna", {"from-no-address"}),
        ("", {"from-no-address"}),
    ],
)
def test_author(value: str, expected: set[str]) -> None:
    assert about("from-", f"From: {value}\r\nTo: me@example.org\r\n") == expected


def test_other_fields_of_the_author() -> None:
    header = "From: Anna <a@news.example.com>\r\n"
    assert about("reply-to", header + "Reply-To: b@example.com\r\n") == set()
    assert about("reply-to", header + "Reply-To: b@example.net\r\n") == {"reply-to-elsewhere"}
    assert about("sender", header + "Sender: list@example.net\r\n") == {"sender-elsewhere"}
    assert about("from", "To: a@b.example\r\n") == {"from-missing"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("To: Anna <a@example.org>\r\n", set()),
        ("Cc: a@example.org\r\n", {"to-missing"}),
        ("Subject: x\r\n", {"to-and-cc-missing"}),
        ("To:\r\n", {"to-empty"}),
        ("To: undisclosed-recipients:;\r\n", {"to-undisclosed"}),
        ("To: Undisclosed recipients: ;\r\n", {"to-undisclosed"}),
        ("To: you\r\n", {"to-no-address"}),
        ("To: " + ", ".join(f"a{n}@example.org" for n in range(11)) + "\r\n", {"to-many"}),
        ("To: anna <anna@example.org>\r\n", {"to-display-is-local-part"}),
        ("To: \"'anna@example.org'\" <anna@example.org>\r\n", {"to-display-is-own-address"}),
        ("To: a@example.org\r\nCc: " + "x@y.example, " * 11 + "\r\n", {"cc-many"}),
        ("To: a@example.org\r\nCc: \r\n", {"cc-empty"}),
    ],
)
def test_recipients(header: str, expected: set[str]) -> None:
    assert about("to-", header) | about("cc-", header) == expected
