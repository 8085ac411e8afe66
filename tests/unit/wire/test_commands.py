"""An envelope becomes command lines, one line each, whatever is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import Mailbox
from filterd.mail.envelope import Envelope, Recipient
from filterd.wire.commands import CommandError, mail_command, needs_smtputf8, rcpt_command

ALL = {"SIZE": "", "8BITMIME": "", "DSN": "", "SMTPUTF8": ""}
SENDER = Mailbox("a", "example.org")


def test_mail_with_and_without_extensions() -> None:
    envelope = Envelope("ID", SENDER, ("size=1", "body=8bitmime", "RET=FULL", "ENVID=e", "AUTH=<>"))
    assert mail_command(envelope, ALL, 42, True) == (
        b"MAIL FROM:<a@example.org> SIZE=42 body=8bitmime RET=FULL ENVID=e SMTPUTF8\r\n"
    )
    assert mail_command(envelope, {}, 42, False) == b"MAIL FROM:<a@example.org>\r\n"
    assert mail_command(Envelope("ID", None), {"DSN": ""}, 42, False) == b"MAIL FROM:<>\r\n"


def test_rcpt_with_and_without_dsn() -> None:
    recipient = Recipient(Mailbox("b", "example.com"), ("NOTIFY=NEVER", "ORCPT=rfc822;b@x", "OTHER=1"))
    assert rcpt_command(recipient, ALL) == b"RCPT TO:<b@example.com> NOTIFY=NEVER ORCPT=rfc822;b@x\r\n"
    assert rcpt_command(recipient, {}) == b"RCPT TO:<b@example.com>\r\n"


def test_an_original_recipient_beyond_ascii_goes_only_where_smtputf8_is_offered() -> None:
    recipient = Recipient(Mailbox("b", "example.com"), ("NOTIFY=NEVER", "orcpt=utf-8;j\u00fcrgen@x"))
    assert rcpt_command(recipient, ALL) == "RCPT TO:<b@example.com> NOTIFY=NEVER orcpt=utf-8;j\u00fcrgen@x\r\n".encode()
    assert rcpt_command(recipient, {"DSN": ""}) == b"RCPT TO:<b@example.com> NOTIFY=NEVER\r\n"
    assert rcpt_command(recipient, {"SMTPUTF8": ""}) == b"RCPT TO:<b@example.com>\r\n"


@pytest.mark.parametrize("local", ["a\r\nDATA", "a\n", "a\0", "a\x7f", "a\u2028"])
def test_an_address_with_control_characters_is_never_written(local: str) -> None:
    with pytest.raises(CommandError):
        rcpt_command(Recipient(Mailbox(local, "example.com")), ALL)
    with pytest.raises(CommandError):
        mail_command(Envelope("ID", Mailbox("a", "x\r\ny")), ALL, 1, False)


@given(st.text(max_size=30), st.text(max_size=30), st.lists(st.text(max_size=20), max_size=3))
def test_one_command_is_one_line(local: str, domain: str, parameters: list[str]) -> None:
    try:
        line = rcpt_command(Recipient(Mailbox(local, domain), tuple(f"ORCPT={p}" for p in parameters)), ALL)
    except (CommandError, UnicodeEncodeError):
        return
    assert line.endswith(b"\r\n")
    assert line.count(b"\r") == line.count(b"\n") == 1


@pytest.mark.parametrize(
    ("parameters", "sender", "chunks", "needed"),
    [
        ((), SENDER, ["Subject: \u00fc\r\n\r\n"], False),
        (("SMTPUTF8",), SENDER, ["Subject: u\r\n\r\n\u00fc\r\n"], False),
        (("SMTPUTF8",), SENDER, ["Subject: \u00fc\r\n\r\n"], True),
        (("smtputf8",), SENDER, ["A: b\r\n", "Subject: \u00fc\r\n", "\r\nx\r\n"], True),
        (("SMTPUTF8",), SENDER, ["A: b\r\n\r", "\n\u00fc\r\n"], False),
        (("SMTPUTF8",), Mailbox("\u00fc", "example.org"), ["A: b\r\n\r\n"], True),
        (("SMTPUTF8",), None, [], False),
    ],
)
def test_when_a_message_needs_smtputf8(
    parameters: tuple[str, ...], sender: Mailbox | None, chunks: list[str], needed: bool
) -> None:
    assert needs_smtputf8(Envelope("ID", sender, parameters), [chunk.encode() for chunk in chunks]) is needed
