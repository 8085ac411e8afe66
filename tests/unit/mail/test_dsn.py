"""The notice about mail that was not delivered: what every mail program reads, whatever the message was."""

from __future__ import annotations

import base64
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
    return (
        message,
        text.get_content().replace("\r\n", "\n"),
        "".join(str(block) for block in status.iter_parts()),
        str(quoted.get_payload()),
    )


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


def test_the_whole_of_it() -> None:
    fields = HEADER.replace(
        b"Bcc:",
        b"To: twice@example.com\r\nCC:  dora@example.net,\r\n\teve@example.net\r\n"
        b"Date: Thu, 14 Jan 2027 18:00:00 +0100\r\nBcc:",
    )
    who = (
        refused("carl@example.com", GONE, "ORCPT=rfc822;c+2Bx@example.com"),
        refused("d@example.net", Reply(554, "", "No")),
    )
    about = Undelivered("ID1", ANNA, ("RET=HDRS", "ENVID=A+20B"), who, fields)
    head, text, status, quoted, end = compose(about, "filter.example.org", AT).split(b"\r\n--=_ID1_1800000000000")
    assert head.decode().split("\r\n") == [
        "From: Mail Delivery System <postmaster@filter.example.org>",
        "To: <anna@example.org>",
        "Subject: Undeliverable mail",
        "Date: Fri, 15 Jan 2027 08:00:00 +0000",
        "Message-ID: <ID1.1800000000000.undelivered@filter.example.org>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        '\tboundary="=_ID1_1800000000000"',
        "",
        "A notice in MIME format (RFC 3464).",
        "",
    ]
    fields_of_text, _, encoded = text.decode().partition("\r\n\r\n")
    assert fields_of_text == "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64"
    assert base64.b64decode(encoded).decode().split("\r\n") == [
        "Your message was not delivered to these recipients:",
        "",
        "  carl@example.com",
        "      550 5.1.1 User unknown",
        "  d@example.net",
        "      554 No",
        "",
        "Other recipients have got it.",
        "",
        "Subject: Gr\u00fc\u00dfe and more",
        "Reference: ID1",
        "",
    ]
    assert status.decode().split("\r\n") == [
        "",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; filter.example.org",
        "Original-Envelope-Id: A B",
        "Arrival-Date: Fri, 15 Jan 2027 08:00:00 +0000",
        "",
        "Original-Recipient: rfc822;c+x@example.com",
        "Final-Recipient: rfc822;carl@example.com",
        "Action: failed",
        "Status: 5.1.1",
        "Diagnostic-Code: smtp;550 5.1.1 User unknown",
        "",
        "Final-Recipient: rfc822;d@example.net",
        "Action: failed",
        "Status: 5.0.0",
        "Diagnostic-Code: smtp;554 No",
        "",
    ]
    assert quoted.decode().split("\r\n") == [
        "",
        "Content-Type: text/rfc822-headers",
        "",
        "From: Anna <anna@example.org>",
        "To: carl@example.com",
        "Cc: dora@example.net, eve@example.net",
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and more",
        "Date: Thu, 14 Jan 2027 18:00:00 +0100",
        "Message-ID: <1@example.org>",
        "",
    ]
    assert end == b"--\r\n"


def test_several_recipients_have_their_own_blocks() -> None:
    _, text, status, _ = read(notice(refused(), refused("dora@example.net", Reply(554, "5.7.1", "No"))))
    assert text.count("\n      55") == 2
    assert status.count("Final-Recipient:") == 2


def test_a_deferral_that_lasted_too_long_is_a_failure() -> None:
    _, text, status, _ = read(notice(refused(reply=Reply(451, "4.4.1", "connection refused")), later=True))
    assert "Status: 5.4.7" in status.splitlines()
    assert "451 4.4.1 connection refused" in text
    assert "Other recipients" not in text
    assert "Arrival-Date" not in status, "it came days ago"


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


def test_parameters_that_say_nothing_are_left_out() -> None:
    _, _, status, _ = read(notice(refused("carl@example.com", GONE, "ORCPT=rfc822", "NOTIFY=FAILURE")))
    assert "Original-" not in status
    long = notice(refused("carl@example.com", GONE, f"ORCPT={'k' * 90};{'x' * 900}"), envid="e" * 900).split(b"\r\n")
    assert f"Original-Recipient: {'k' * 20};{'x' * 500}".encode() in long
    assert f"Original-Envelope-Id: {'e' * 500}".encode() in long


def test_a_subject_adds_no_line_of_its_own() -> None:
    text = read(notice(header=b"Subject: =?utf-8?q?x=0D=0A=0A  other=40example.com?=\r\n\r\n"))[1]
    assert "\nSubject: x other@example.com\nReference: ID1\n" in text


def test_what_is_no_ascii_costs_letters_not_the_notice() -> None:
    about = Undelivered("ID1", Mailbox("j\u00fcrgen", "example.org"), (), (refused("c\udcff@example.com"),), b"")
    octets = compose(about, "filter.example.org", AT)
    assert b"\r\nTo: <j?rgen@example.org>\r\n" in octets
    assert "  c?@example.com\n" in read(octets)[1]


@pytest.mark.parametrize(("count", "more"), [(100, False), (101, True)])
def test_a_hundred_are_named(count: int, more: bool) -> None:
    _, text, status, _ = read(notice(*(refused(f"r{number}@example.com") for number in range(count))))
    assert text.count("@example.com\n") == 100
    assert ("  and 1 more\n" in text) is more
    assert "and 0 more" not in text
    assert status.count("Final-Recipient") == count, "programs hear of all"


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


def test_what_stands_far_down_is_not_looked_for() -> None:
    far = b"X-Long: " + b"x" * 700 + b"\r\n"
    header = b"From: Anna <anna@example.org>\r\n" + far * (MAX_QUOTED // len(far) + 1) + b"Subject: far down\r\n\r\n"
    _, text, _, quoted = read(notice(header=header))
    assert "far down" not in text + quoted
    assert "From: Anna <anna@example.org>" in quoted


def test_a_huge_header_and_many_recipients_are_bounded() -> None:
    many = [refused(f"r{number}@example.com") for number in range(1000)]
    octets = notice(*many, header=b"Subject: " + b"x" * 10_000_000)
    assert len(octets) < 300_000
    assert len(notice(header=HEADER + b"y" * MAX_QUOTED * 3)) < 4000
