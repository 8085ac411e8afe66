"""Owns the message that carries a report.  RFC 9990 3.5.1, 3.5.2; RFC 3834 (Auto-Submitted).

Must not know rows, nor how the message is delivered.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from filterd.aggregate.document import Heading
from filterd.mail.address import Mailbox

Sign = Callable[[bytes], bytes]  # header fields of a signature, to stand above the message that is given

OVERHEAD = 6_000  # octets of a message besides its attachment: names of 253 characters stand in it some times


def unsigned(_message: bytes) -> bytes:
    """No signature: the relay signs, or SPF has to be enough."""
    return b""


def report_id(submitter: str, policy_domain: str, day: int) -> str:
    """Unique among all reports, the same whenever and wherever the same report is made; also good as `unique-id`."""
    return hashlib.sha256(f"{submitter}!{policy_domain}!{day}".encode()).hexdigest()[:32]


def file_name(submitter: str, heading: Heading) -> str:
    """RFC 9990 3.5.2; of A-labels and digits, so that it needs no quoting."""
    return f"{submitter}!{heading.policy_domain}!{heading.begin}!{heading.end}!{heading.report_id}.xml.gz"


def room_for_file(report_bytes: int) -> int:
    """Octets that the attachment may have in a message of `report_bytes`: base64 has 78 in a line for 57."""
    return max(0, report_bytes - OVERHEAD) * 57 // 78


def compose(
    sender: Mailbox,
    recipients: Sequence[Mailbox],
    heading: Heading,
    file: bytes,
    messages: tuple[int, int],
    number: int,
    now: float,
    sign: Sign = unsigned,
) -> bytes:
    """The whole message; all of its text is ASCII.

    Args:
        messages: how many messages are in the report, and how many are not because of a bound.
        number: of the row in the queue: a Message-ID of its own for every destination, the same when sent again.
        now: Unix time.
    """
    submitter, id = sender.domain_key, heading.report_id
    day = datetime.fromtimestamp(heading.begin, UTC).date().isoformat()
    name = file_name(submitter, heading)
    boundary = f"report-{id}"
    shown, missing = messages
    left_out = f"\r\n{missing} further messages are left out: too many different senders." if missing else ""
    lines = [
        f"From: <{sender}>",
        "To: " + ",\r\n\t".join(f"<{recipient}>" for recipient in recipients),
        f"Subject: Report Domain: {heading.policy_domain}\r\n\tSubmitter: {submitter}\r\n\tReport-ID: <{id}>",
        f"Date: {format_datetime(datetime.fromtimestamp(int(now), UTC))}",
        f"Message-ID: <{id}.{number}@{submitter}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"DMARC aggregate report about {heading.policy_domain} by {submitter}\r\nfor {day} (UTC): {shown} messages.{left_out}",
        "",
        f"--{boundary}",
        f'Content-Type: application/gzip;\r\n\tname="{name}"',
        f'Content-Disposition: attachment;\r\n\tfilename="{name}"',
        "Content-Transfer-Encoding: base64",
        "",
        base64.encodebytes(file).decode().strip("\n").replace("\n", "\r\n"),
        f"--{boundary}--",
        "",
    ]
    message = "\r\n".join(lines).encode("ascii")
    return sign(message) + message
