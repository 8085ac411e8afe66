"""The notice about mail that was not delivered: what every mail program reads, whatever the message was."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import Mailbox
from filterd.mail.dsn import MAX_QUOTED, Refused, Undelivered, compose, parameter, wants_notice
from filterd.mail.envelope import Recipient
from filterd.mail.reply import Reply

ANNA = Mailbox("anna", "example.org")
GONE = Reply(550, "5.1.1", "User unknown")
HEADER = (
    b"Received: from secret.internal by x\r\nFrom: Anna <anna@example.org>\r\nTo: carl@example.com\r\n"
    b"Bcc: hidden@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and\r\n more\r\nMessage-ID: <1@example.org>\r\n\r\nbody text\r\n"
)
AT = 1_800_000_000_000


def refused(address: str = "carl@example.com", reply: Reply = GONE, *parameters: str) -> Refused:
    local, _, domain = address.rpartition("@")
    return Refused(Recipient(Mailbox(local, domain), parameters), reply)


def notice(*who: Refused, header: bytes = HEADER, later: bool = False, envid: str = "") -> bytes:
    parameters = (f"ENVID={envid}",) if envid else ()
    about = Undelivered("ID1", ANNA, parameters, who or (refused(),), header, later)
    return compose(about, "filter.example.org", AT)


def read(octets: bytes) -> tuple[EmailMessage, str, str, str]:
    """(the whole, text, delivery status, quoted fields)."""
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    text, status, quoted = message.iter_parts()
    return message, text.get_content(), "".join(str(block) for block in status.iter_parts()), str(quoted.get_payload())


def test_a_mail_program_sees_a_report() -> None:
    message, text, status, quoted = read(notice())
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    assert message["To"] == "anna@example.org"
    assert message["From"].addresses[0].addr_spec == "postmaster@filter.example.org"
    assert message["Auto-Submitted"] == "auto-replied"
    assert not message.defects
    assert "  carl@example.com\n      550 5.1.1 User unknown\n" in text
    assert "Gr\u00fc\u00dfe and more" in text
    assert "Other recipients have got it" in text
    for line in (
        "Reporting-MTA: dns; filter.example.org",
        "Final-Recipient: rfc822;carl@example.com",
        "Action: failed",
        "Status: 5.1.1",
        "Diagnostic-Code: smtp;550 5.1.1 User unknown",
    ):
        assert line in status
    assert "Message-ID: <1@example.org>" in quoted


def test_it_tells_nothing_but_what_the_author_knows() -> None:
    octets = notice()
    for secret in (b"secret.internal", b"hidden@example.com", b"body text"):
        assert secret not in octets


def test_several_recipients_have_their_own_blocks() -> None:
    _, text, status, _ = read(notice(refused(), refused("dora@example.net", Reply(554, "5.7.1", "No"))))
    assert text.count("\n      55") == 2
    assert status.count("Final-Recipient:") == 2


def test_a_deferral_that_lasted_too_long_is_a_failure() -> None:
    _, text, status, _ = read(notice(refused(reply=Reply(451, "4.4.1", "connection refused")), later=True))
    assert "Status: 5.4.7" in status
    assert "451 4.4.1 connection refused" in text
    assert "Other recipients" not in text


def test_what_was_asked_for_is_in_it() -> None:
    _, _, status, _ = read(notice(refused("carl@example.com", GONE, "ORCPT=rfc822;c+2Bx@example.com"), envid="A+20B"))
    assert "Original-Envelope-Id: A B" in status
    assert "Original-Recipient: rfc822;c+x@example.com" in status


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ((), True),
        (("NOTIFY=NEVER",), False),
        (("notify=success,failure",), True),
        (("NOTIFY=SUCCESS,DELAY",), False),
        (("ORCPT=rfc822;x", "NOTIFY=FAILURE"), True),
    ],
)
def test_who_wants_a_notice(parameters: tuple[str, ...], wanted: bool) -> None:
    assert wants_notice(Recipient(ANNA, parameters)) is wanted


def test_parameters_are_found_in_any_case() -> None:
    assert parameter(("ret=FULL", "EnvId=x=y"), "ENVID") == "x=y"
    assert parameter(("ENVIDX=x",), "ENVID") == ""


@given(
    header=st.binary(max_size=300) | st.binary(max_size=200).map(lambda octets: b"Subject: " + octets + b"\r\nFrom: x"),
    envid=st.text(max_size=40),
    local=st.text(max_size=20),
)
def test_whatever_the_message_was_the_notice_is_ascii_in_short_lines(header: bytes, envid: str, local: str) -> None:
    who = Refused(Recipient(Mailbox(local, "example.com"), (f"ORCPT={envid}",)), GONE)
    octets = notice(who, header=header, envid=envid)
    assert octets.isascii()
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert len(list(message.iter_parts())) == 3


def test_a_huge_header_and_many_recipients_are_bounded() -> None:
    many = [refused(f"r{number}@example.com") for number in range(1000)]
    octets = notice(*many, header=b"Subject: " + b"x" * 10_000_000)
    assert len(octets) < 300_000
    assert len(notice(header=HEADER + b"y" * MAX_QUOTED * 3)) < 4000
