"""Owns what a report mail holds: the messages that were forwarded as attachments, in every form in which that happens.

message/rfc822, .eml as a file, Outlook's .msg, winmail.dat; several of them, and one level below each, because a helpdesk
forwards what was forwarded to it.  Text that was only quoted is no message.  Must not know who reports, nor what is learned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from filterd.content.attachments.finding import shown
from filterd.content.decode import undo_encoding
from filterd.content.mime import Part, walk
from filterd.mail.message import Message
from filterd.reportmail import msgfile, tnef
from filterd.reportmail.mapi import crlf

MAX_MESSAGES = 20  # of one report mail; who has more sends another one
MAX_INNER = 5  # below one of them
MAX_OCTETS = 4_194_304  # of one message: the classifier reads less; what lies beyond is cut off
MAX_TOTAL = 33_554_432  # of all of them together
MAX_PROBLEMS = 20
_MAX_PART = 37_748_736  # octets of one attachment, encoded; as limits.message_bytes
_RFC822: Final = frozenset({"message/rfc822", "message/global"})
_MSG_TYPES: Final = frozenset({"application/vnd.ms-outlook", "application/x-msg"})
_TNEF_TYPES: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_MAIL_FIELDS: Final = frozenset({"from", "subject", "date", "message-id", "received", "to", "return-path"})
_OUR_ID = re.compile(r"\bID:([0-9A-HJKMNP-TV-Z]{16})\b")
_HEAD = 256  # octets, encoded, in which the signature of a file stands
_MAX_HEADER = 65_536
_MAX_VALUE = 500  # characters, as the ledger keeps of a Message-ID


@dataclass(frozen=True, slots=True)
class Reported:
    """One message that was attached.

    Attributes:
        form: rfc822, eml, msg or tnef: how it came.
        message_id: its Message-ID field, empty when it has none.
        our_id: our own id, where the mail program kept our report field; empty else.
        octets: the message with CRLF line ends, at most MAX_OCTETS; of Outlook's forms what can be made of them.
        inner: messages that are attached to it; theirs is empty.
    """

    form: str
    message_id: str
    our_id: str
    subject: str
    octets: bytes
    inner: tuple[Reported, ...] = ()


@dataclass(slots=True)
class Unpacked:
    """What a report mail holds.

    Attributes:
        problems: attachments that look like messages and cannot be read, each with the reason, for people.
        left_out: messages beyond the bounds.
    """

    messages: list[Reported] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: int = 0


def unpack(octets: bytes) -> Unpacked:
    """Every attached message within the bounds.  Never raises."""
    result = Unpacked()
    room = MAX_TOTAL
    for form, found in _attached(octets, result.problems):
        if len(result.messages) >= MAX_MESSAGES or room <= 0:
            result.left_out += 1
            continue
        inner: list[Reported] = []
        for inner_form, below in _attached(found, []):
            if len(inner) >= MAX_INNER:
                break
            inner.append(_reported(inner_form, below[: max(room - len(found), 0)]))
        one = _reported(form, found[:room], tuple(item for item in inner if item.octets))
        room -= len(one.octets) + sum(len(item.octets) for item in one.inner)
        result.messages.append(one)
    del result.problems[MAX_PROBLEMS:]
    return result


def _reported(form: str, octets: bytes, inner: tuple[Reported, ...] = ()) -> Reported:
    octets = octets[:MAX_OCTETS]
    message = Message(octets)
    ours = _OUR_ID.search(message.first("x-filterd-report")[:4_096])
    name = message.first("message-id")[:_MAX_VALUE]
    return Reported(form, name, ours[1] if ours else "", message.subject, octets, inner)


def _attached(octets: bytes, problems: list[str]) -> Iterator[tuple[str, bytes]]:
    """(form, octets) of each message that is attached to this one."""
    message = Message(octets)
    below: int | None = None  # depth of an attached message: its own parts are not attached to the report
    for part in walk(message).parts:
        if below is not None and part.depth > below:
            continue
        below = None
        if part.content_type in _RFC822:
            below = part.depth
            yield "rfc822", crlf(_decoded(message, part))
        elif not part.is_container:
            head = _decoded(message, part, _HEAD)
            form = _form(part.name, part.content_type, head)
            if form:
                yield from _in_file(form, part.name, _decoded(message, part), problems)


def _form(name: str, content_type: str, head: bytes) -> str:
    """What a file is: by its first octets, where those say it, else by its name; empty when nothing that holds a message."""
    lower = name.lower().rstrip(". ")
    if head.startswith(tnef.SIGNATURE) and (content_type in _TNEF_TYPES or lower.endswith(".dat")):
        return "tnef"
    if head.startswith(msgfile.SIGNATURE) and (content_type in _MSG_TYPES or lower.endswith(".msg") or not lower):
        return "msg"
    return "eml" if lower.endswith((".eml", ".msg")) or content_type in _MSG_TYPES else ""


def _in_file(form: str, name: str, octets: bytes, problems: list[str]) -> Iterator[tuple[str, bytes]]:
    """The messages in one file; what looks like one and is none is a problem."""
    shown_name = shown(name, 80) or "attachment"
    if form == "eml":
        mail = _without_mbox_line(crlf(octets))
        if _is_mail(mail):
            yield "eml", mail
        else:
            problems.append(f"{shown_name}: it is no message")
        return
    try:
        packed = tnef.read(octets) if form == "tnef" else msgfile.read(octets)
    except (tnef.TnefError, msgfile.MsgError) as error:
        problems.append(f"{shown_name}: {error}")
        return
    if form == "msg":
        yield "msg", packed.mime()
        return
    if packed.left_out:  # what is not looked at is said
        problems.append(f"{shown_name}: {packed.left_out} of its files are too many")
    yield from (("tnef", inner.mime()) for inner in packed.messages)
    for file_name, content in packed.files:  # .eml and .msg files among them; winmail.dat in winmail.dat is nobody's
        inner_form = _form(file_name, "", content[:_HEAD])
        if inner_form in ("eml", "msg"):
            yield from _in_file(inner_form, file_name, content, problems)


def _is_mail(octets: bytes) -> bool:
    return any(header.key in _MAIL_FIELDS for header in Message(octets[:_MAX_HEADER]).fields[:50])


def _without_mbox_line(octets: bytes) -> bytes:
    """Some programs keep a message as mbox with one message in it."""
    return octets.partition(b"\n")[2] if octets.startswith((b"From ", b">From ")) else octets


def _decoded(message: Message, part: Part, limit: int = _MAX_PART) -> bytes:
    raw = bytes(message.octets[part.begin : min(part.end, part.begin + limit)])
    return undo_encoding(raw, part.encoding)
