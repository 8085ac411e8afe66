"""Owns finding uuencoded files in text: Outlook and Exchange make attachments of them.  POSIX.1-2017 uuencode.

Must not know what the files are; they become parts like others, with an encoding of their own (content/decode.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from filterd.content.mime import Part, find
from filterd.mail.message import Message

ENCODING = "x-uuencode"
_MAX_FILES = 8  # of one text part
_MAX_TRIES = 1_000  # lines that begin like one: more than a text has
_LINES = 400  # octets: the first line and the one after it
_BEGIN = re.compile(rb"begin [0-7]{3,4} ([^\r\n]{1,200})\r?\n([^\r\n]{1,100})")


def files_in(message: Message, part: Part) -> tuple[list[Part], bool]:
    """(the files in a text part that is sent as it is, whether all of it was looked at).  Never raises."""
    found: list[Part] = []
    position = max(part.begin - 1, 0)  # the line end before the first line is the header's
    for _ in range(_MAX_TRIES):
        position = find(message.octets, b"\nbegin ", position, part.end)
        if position < 0:
            return found, True
        position += 1
        match = _BEGIN.match(bytes(message.octets[position : min(position + _LINES, part.end)]))
        if match is None or not is_data(match[2]):
            continue
        if len(found) >= _MAX_FILES:
            return found, False
        end = find(message.octets, b"\nend", position, part.end)
        name = match[1].decode("utf-8", "replace")
        kind = "application/octet-stream"
        found.append(
            Part(part.depth, kind, "", ENCODING, (name,), "attachment", position, end if end >= 0 else part.end)
        )
        position = found[-1].end
    return found, False


def names_in(text: bytes) -> Iterator[str]:
    """Names in text that was decoded and is in lower case, as content/view.py gives it: its files cannot be decoded any more."""
    position = 0 if text.startswith(b"begin ") else text.find(b"\nbegin ") + 1
    count = 0
    while (position or text.startswith(b"begin ")) and count < _MAX_FILES:
        match = _BEGIN.match(text, position)
        if match is not None and is_data(match[2].upper(), whole=True):
            yield match[1].decode("utf-8", "replace")
            count += 1
        following = text.find(b"\nbegin ", position)
        if following < 0:
            return
        position = following + 1


def is_data(line: bytes, whole: bool = False) -> bool:
    """Whether the line can be data: its first octet says how many there are, four characters for each three.

    `whole`: blanks at its end, which some programs leave out, have to be there.
    """
    line = line.rstrip(b"\r\n")
    count = line[0] - 32 & 63 if line else 0
    if not count or not all(32 <= octet <= 96 for octet in line):
        return False
    wanted = 1 + -(-count // 3) * 4
    return len(line) <= wanted + 1 and (
        not whole or len(line) >= wanted - 2
    )  # + 1: a checksum; - 2: what does not count
