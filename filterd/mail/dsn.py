"""Owns the notice that a message of ours was not delivered: which recipients, and what the next server said.  RFC 3464, RFC 3461 6.

It quotes a few fields of the author's own message, never its body.  Must not know who writes it when, nor how it is delivered.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from filterd.mail.address import Mailbox
from filterd.mail.envelope import Recipient
from filterd.mail.message import Message
from filterd.mail.reply import Reply, printable

MAX_QUOTED = 32_768  # octets of the message in which the fields are looked for
_FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID")
_MAX_VALUE = 800  # characters of a quoted field; a line may have 998 octets (RFC 5322 2.1.1)
_MAX_NAMED = 100  # recipients; a message to more is a newsletter, whose author counts them elsewhere
_MAX_TEXT = 300  # characters of what the next server said
_HEX = re.compile(r"\+([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Refused:
    """One recipient who has not got the message."""

    recipient: Recipient
    reply: Reply


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What its author must know of a message.

    Attributes:
        id: ours.
        parameters: ESMTP parameters of MAIL.
        header: the message or its beginning, of which a few fields are quoted.
        later: some time has gone by, and nothing is known of other recipients.
    """

    id: str
    reverse_path: Mailbox
    parameters: tuple[str, ...]
    refused: tuple[Refused, ...]
    header: bytes
    later: bool = False


def wants_notice(recipient: Recipient) -> bool:
    """Whether the author wants to know when this recipient does not get it: NOTIFY says neither NEVER nor other things only (RFC 3461 4.1)."""
    notify = parameter(recipient.parameters, "NOTIFY").upper()
    return not notify or "FAILURE" in notify.split(",")


def compose(about: Undelivered, hostname: str, at_ms: int) -> bytes:
    """The whole notice, from postmaster at `hostname`; all octets are ASCII.  `at_ms`: Unix milliseconds."""
    date = format_datetime(datetime.fromtimestamp(at_ms // 1000, UTC))
    boundary = f"=_{about.id}_{at_ms}"
    head = [
        f"From: Mail Delivery System <postmaster@{hostname}>",
        f"To: <{about.reverse_path}>",
        "Subject: Undeliverable mail",
        f"Date: {date}",
        f"Message-ID: <{about.id}.{at_ms}.undelivered@{hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
    ]
    # Lines of a text end with CRLF before they are encoded (RFC 2045 6.8).
    plain = _text(about).replace("\n", "\r\n").encode("utf-8", "replace")
    text = base64.encodebytes(plain).decode().strip("\n").replace("\n", "\r\n")
    parts = [
        ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", "", text],
        ["Content-Type: message/delivery-status", "", *_status(about, hostname, date)],
        ["Content-Type: text/rfc822-headers", "", *_quoted(about.header)],
    ]
    lines = [*head, "", "A notice in MIME format (RFC 3464)."]
    for part in parts:
        lines += ["", f"--{boundary}", *part]
    lines += ["", f"--{boundary}--", ""]
    return "\r\n".join(lines).encode("ascii", "replace")


def parameter(parameters: Sequence[str], name: str) -> str:
    """The value of an ESMTP parameter; empty when it is not there."""
    return next((value for item in parameters for key, _, value in [item.partition("=")] if key.upper() == name), "")


def _text(about: Undelivered) -> str:
    message = Message(about.header[:MAX_QUOTED])
    lines = ["Your message was not delivered to these recipients:", ""]
    for refused in about.refused[:_MAX_NAMED]:
        lines.append(f"  {refused.recipient.mailbox}")
        lines.append(f"      {_said(refused.reply)}")
    if len(about.refused) > _MAX_NAMED:
        lines.append(f"  and {len(about.refused) - _MAX_NAMED} more")
    lines += ["", *([] if about.later else ["Other recipients have got it.", ""])]
    lines += [f"Subject: {' '.join(message.subject.split())[:200]}", f"Reference: {about.id}", ""]
    return "\n".join(lines)


def _status(about: Undelivered, hostname: str, date: str) -> list[str]:
    envid = _xtext(parameter(about.parameters, "ENVID"))
    lines = [
        f"Reporting-MTA: dns; {hostname}",
        *([f"Original-Envelope-Id: {envid}"] if envid else []),
        *([] if about.later else [f"Arrival-Date: {date}"]),  # later nobody here knows when it came
    ]
    for refused in about.refused:
        kind, _, original = parameter(refused.recipient.parameters, "ORCPT").partition(";")
        orcpt = _xtext(original)
        lines += [
            "",
            *([f"Original-Recipient: {printable(kind, 20)};{orcpt}"] if orcpt else []),
            f"Final-Recipient: rfc822;{printable(str(refused.recipient.mailbox), 400)}",
            "Action: failed",
            f"Status: {_status_code(refused.reply)}",
            f"Diagnostic-Code: smtp;{_said(refused.reply)}",
        ]
    return lines


def _status_code(reply: Reply) -> str:
    """What is said for good is a class 5; a deferral that lasted too long is 5.4.7 (RFC 3463 3.5)."""
    if reply.is_temporary:
        return "5.4.7"
    return reply.enhanced or "5.0.0"


def _quoted(header: bytes) -> list[str]:
    message = Message(header[:MAX_QUOTED])
    found = []
    for name in _FIELDS:
        for item in message.all(name)[:1]:
            value = " ".join(item.body[: 4 * _MAX_VALUE].decode("ascii", "replace").split())
            found.append(f"{name}: {printable(value, _MAX_VALUE)}")
    return found


def _said(reply: Reply) -> str:
    return printable(f"{reply.code} {reply.enhanced} {reply.text}", _MAX_TEXT)


def _xtext(text: str) -> str:
    """xtext as it is meant (RFC 3461 4), on one line."""
    return printable(_HEX.sub(lambda found: chr(int(found[1], 16)), text[:500]), 500)
