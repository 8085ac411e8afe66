"""Owns when a message came, for collections that do not say: file name, topmost Received, mbox line, Date.  RFC 5322 3.3, 3.6.7.

What the receiving site wrote goes before what the sender wrote: spam lies about its date.  Must not know labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from filterd.content.shape.times import read_moment
from filterd.errors import FilterdError
from filterd.mail.message import Message
from training.readers import Item

_HEAD = 65_536  # octets that are looked at; header sections of more are rare, and then there is only no date
_MAX_VALUE = 2_000  # octets of a field
_DELIVERED = re.compile(r"[0-9]{9,10}(?=[.,_:-])")  # a Maildir's file name begins with the second of its delivery
# "From mailbox Thu Jan  1 00:00:00 1970": no zone is written; UTC by RFC 4155, and a wrong hour keeps the order of days.
_MBOX = re.compile(
    rb"[a-z]{3}\s{1,4}([a-z]{3})\s{1,4}([0-9]{1,2})\s{1,4}([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)\s{1,4}(?:[a-z]{3,5}\s{1,4})?([0-9]{4})",
    re.I,
)
_EARLIEST, _LATEST = 315_532_800, 4_102_444_800  # 1980 to 2100: anything else is a broken clock


def dated(items: list[Item], advance: Callable[[int], None] = lambda count: None) -> list[Item]:
    """The same items, each without a date with that of its file name or message; those that have none keep none."""
    result = []
    for item in items:
        result.append(item if item.date else replace(item, date=_date_of(item)))
        advance(1)
    return result


def _date_of(item: Item) -> str:
    match = _DELIVERED.match(item.file.name) if item.file.parent.name in ("cur", "new") else None
    if match is not None and (text := iso(int(match[0]))):
        return text
    try:
        return message_date(item.read_head(_HEAD))
    except (FilterdError, OSError):
        return ""  # it will be named when it is decoded


def message_date(octets: bytes) -> str:
    """ISO 8601 UTC of when the message came, as far as it says so itself; empty when it does not.  Never raises."""
    data = octets[:_HEAD].replace(b"\r\n", b"\n")
    line = b""
    if data.startswith((b"From ", b">From ")):
        line, _, data = data.partition(b"\n")
    message = Message(data.partition(b"\n\n")[0].replace(b"\n", b"\r\n") + b"\r\n\r\n")
    received = next(iter(message.all("received")), None)
    if received is not None:
        body = received.body[:_MAX_VALUE]
        if text := _iso_of(body[body.rfind(b";") + 1 :]):
            return text
    if (match := _MBOX.search(line[:_MAX_VALUE])) is not None:
        month, day, clock, year = match.groups()
        if text := _iso_of(b" ".join((day, month, year, clock))):
            return text
    dates = message.all("date")
    return _iso_of(dates[0].body[:_MAX_VALUE]) if dates else ""


def _iso_of(value: bytes) -> str:
    moment = read_moment(b" ".join(value.split()))
    return iso(moment.seconds) if moment is not None else ""


def iso(seconds: int) -> str:
    """ISO 8601 UTC of Unix seconds; empty for a time at which there was no mail."""
    if not _EARLIEST <= seconds < _LATEST:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
