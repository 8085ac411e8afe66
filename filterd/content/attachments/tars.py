"""Owns reading tar archives: ustar, GNU long names, pax paths.  POSIX.1-2017 pax; GNU tar's format notes.

Must not know what the files inside are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from filterd.content.attachments.finding import BadArchiveError, Member

_BLOCK = 512
_MAX_NAME = 4_096
_PAX_PATH = re.compile(rb"(?:^|\n)\d{1,7} (?:path|GNU\.sparse\.name)=([^\n]{1,4096})\n")


def members(octets: bytes) -> Iterator[Member]:
    """The files in order.  Raises BadArchiveError where the headers stop making sense."""
    position, long_name = 0, ""
    while position + _BLOCK <= len(octets):
        header = octets[position : position + _BLOCK]
        if not header.strip(b"\0"):
            return
        if not _sum_is_right(header):
            raise BadArchiveError("a tar header is damaged")
        size = _number(header[124:136])
        body, kind = position + _BLOCK, header[156:157]
        more = kind == b"S" and header[482:483] == b"\1"  # GNU sparse: maps of holes in blocks of their own
        while more and body + _BLOCK <= len(octets):
            more = octets[body + 504 : body + 505] == b"\1"
            body += _BLOCK
        position = body + -(-size // _BLOCK) * _BLOCK  # forward by at least a block, so it ends
        if kind == b"L":
            long_name = _text(octets[body : body + min(size, _MAX_NAME)])
        elif kind in (b"x", b"g"):
            match = _PAX_PATH.search(octets[body : body + min(size, 4 * _MAX_NAME)])
            long_name = _text(match[1]) if match else long_name
        else:
            prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
            name = long_name or "/".join(filter(None, (prefix, _text(header[:100]))))
            long_name = ""
            if kind in (b"0", b"\0", b"7", b"S") and not (name.endswith("/") and not size):
                yield Member(name, size, read=partial(_read, octets, body, size))
    if position > len(octets) + _BLOCK:
        raise BadArchiveError("cut off")


def _read(octets: bytes, body: int, size: int, limit: int) -> bytes:
    return octets[body : body + min(size, limit)]


def _sum_is_right(header: bytes) -> bool:
    """The checksum counts its own field as blanks; some old writers add signed octets."""
    try:
        stated = int(header[148:156].split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return False
    plain = header[:148] + b" " * 8 + header[156:]
    return stated in (sum(plain), sum(plain) - 256 * sum(octet > 127 for octet in plain))


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base 256, GNU
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise BadArchiveError("a tar header has no size") from None


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")
