"""The message that carries a report is what RFC 9990 3.5.2 asks for."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message

from hypothesis import given
from hypothesis import strategies as st

from filterd.aggregate.document import Heading, compressed
from filterd.aggregate.mail import OVERHEAD, Sign, compose, file_name, report_id, room_for_file, unsigned
from filterd.mail.address import Mailbox
from tests.support.dmarc import DAY, MIDNIGHT, RECORD, judged, row, unpacked

SENDER = Mailbox("dmarc-reports", "Example.ORG")
ID = report_id("example.org", "example.com", DAY)
HEADING = Heading("Example", "d@example.org", "", ID, DAY, "example.com", RECORD)
NAME = f"example.org!example.com!{MIDNIGHT}!{MIDNIGHT + 86_399}!{ID}.xml.gz"
# RFC 9990 3.5.2 and RFC 5322 3.2.2 (FWS), dot-atom-text of RFC 5322 3.2.3
FWS = r"(?:[ \t]|\r\n[ \t])+"
SUBJECT = re.compile(
    rf"Report{FWS}Domain:{FWS}(?P<about>[a-z0-9._-]+){FWS}Submitter:{FWS}(?P<by>[a-z0-9._-]+){FWS}Report-ID:{FWS}<(?P<id>[a-z0-9.]+)>"
)


def made(
    heading: Heading = HEADING,
    recipients: tuple[Mailbox, ...] = (Mailbox("dmarc", "example.com"),),
    missing: int = 0,
    sign: Sign = unsigned,
) -> bytes:
    return compose(
        SENDER, recipients, heading, compressed(heading, [(row(), 3)]), (3, missing), 17, MIDNIGHT + 90_000.5, sign
    )


def parsed(octets: bytes) -> Message:
    return message_from_bytes(octets)


def test_the_fields() -> None:
    message = parsed(made())
    assert message["from"] == "<dmarc-reports@Example.ORG>"
    assert message["to"] == "<dmarc@example.com>"
    assert message["auto-submitted"] == "auto-generated"
    assert message["date"] == "Fri, 02 Jan 2026 01:00:00 +0000"
    assert message["message-id"] == f"<{ID}.17@example.org>"
    assert message["mime-version"] == "1.0"


def test_the_subject_follows_the_grammar() -> None:
    raw = re.search(rb"\r\nSubject: ((?:.|\r\n\t)*?)\r\nDate", made())
    assert raw is not None
    found = SUBJECT.fullmatch(raw[1].decode())
    assert found is not None
    assert found.groupdict() == {"about": "example.com", "by": "example.org", "id": ID}


def test_the_attachment_is_the_report() -> None:
    text, attachment = parsed(made()).get_payload()
    assert isinstance(attachment, Message)
    assert isinstance(text, Message)
    assert attachment.get_content_type() == "application/gzip"
    assert attachment.get_content_disposition() == "attachment"
    assert attachment.get_filename() == NAME == file_name("example.org", HEADING)
    file = attachment.get_payload(decode=True)
    assert isinstance(file, bytes)
    judged(unpacked(file))
    assert text.get_payload().split("\n")[0].rstrip() == "DMARC aggregate report about example.com by example.org"
    assert "3 messages" in text.get_payload()
    assert "left out" not in text.get_payload()


def test_the_file_name_has_the_report_id_as_its_unique_id() -> None:
    assert re.fullmatch(r"[a-z0-9.-]+![a-z0-9.-]+![0-9]+![0-9]+![A-Za-z0-9]+\.xml\.gz", NAME)
    assert NAME.split("!")[-1].removesuffix(".xml.gz") == HEADING.report_id


def test_the_report_id_is_the_same_for_the_same_report_and_no_other() -> None:
    ids = {
        report_id(by, about, day)
        for by in ("a.example", "b.example")
        for about in ("c.example", "d.example")
        for day in (1, 2)
    }
    assert len(ids) == 8
    assert report_id("a.example", "c.example", 1) in ids


def test_what_is_missing_is_said() -> None:
    assert b"12 further messages are left out" in made(missing=12)


def test_several_recipients_and_a_signature() -> None:
    octets = made(
        recipients=(Mailbox("a", "example.com"), Mailbox("b", "example.com")),
        sign=lambda message: b"DKIM-Signature: v=1; l=" + str(len(message)).encode() + b"\r\n",
    )
    first, _, rest = octets.partition(b"\r\n")
    assert first == b"DKIM-Signature: v=1; l=" + str(len(rest)).encode()
    assert parsed(octets)["to"] == "<a@example.com>,\r\n\t<b@example.com>"


LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=62).map(lambda label: f"{label}0")
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@given(DOMAINS, st.integers(0, 200_000))
def test_lines_and_size_have_their_bounds_however_long_the_names(domain: str, size: int) -> None:
    heading = Heading("Example", "d@example.org", "", ID, DAY, domain, RECORD)
    file = b"\x00" * size
    recipients = tuple(Mailbox("l" * 60, f"{domain}.example") for _ in range(4))
    octets = compose(SENDER, recipients, heading, file, (1, 10**9), 10**9, MIDNIGHT)
    lines = octets.split(b"\r\n")
    assert max(map(len, lines)) <= 998  # RFC 5322 2.1.1
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    assert octets.isascii()
    assert len(octets) <= OVERHEAD + -(-size // 57) * 78 + 78
    assert room_for_file(len(octets)) <= size + 57
    assert room_for_file(20_000) > 10_000
    assert room_for_file(1) == 0
