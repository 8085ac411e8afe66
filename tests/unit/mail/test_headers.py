"""The trace field says how the message came.  What is removed and prepended is tested with the engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient, parse_ip
from filterd.mail.headers import received

CLIENT = Connection(parse_ip("192.0.2.1"), client_name="mail.example.com", helo="mail.example.com")
ENVELOPE = Envelope("ID", None, (), (Recipient(Mailbox("bob", "example.org")),))


@pytest.mark.parametrize(
    ("connection", "protocol"),
    [
        (CLIENT, "ESMTP"),
        (replace(CLIENT, esmtp=False), "SMTP"),
        (replace(CLIENT, tls="TLSv1.3 X"), "ESMTPS"),
        (replace(CLIENT, tls="TLSv1.3 X", user="anna"), "ESMTPSA"),
    ],
)
def test_the_protocol_is_a_word_of_rfc_3848(connection: Connection, protocol: str) -> None:
    field = received(connection, ENVELOPE, "filter.example.net", datetime(2026, 11, 24, tzinfo=UTC))
    assert field == (
        b"Received: from mail.example.com (mail.example.com [192.0.2.1])\r\n"
        b"\tby filter.example.net with " + protocol.encode() + b" id ID\r\n"
        b"\tfor <bob@example.org>;\r\n\tTue, 24 Nov 2026 00:00:00 +0000\r\n"
    )
    assert b"anna" not in field  # who it was is in our log, not in the message
