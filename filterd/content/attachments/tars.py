"""Owns reading tar archives: ustar, GNU long names, pax paths.  POSIX.1-2017 pax; GNU tar's format notes.

Must not know what the files inside are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from filterd.content.attachments.finding import BadArchiveError, Member

_BLOCK = 512
_MAX_NAME = 4_096
_MAX_PAX = 1_048_576  # octets of one file's pax records
_PAX_NAMES = frozenset((b"path", b"GNU.sparse.name"))
_NO_FILES = frozenset(
    (b"1", b"2", b"3", b"4", b"5", b"6", b"D", b"K", b"M", b"N", b"V", b"X")
)  # links, devices, folders, GNU's own


def members(octets: bytes) -> Iterator[Member]:
    """The files in order.  Raises BadArchiveError where the headers stop making sense."""
    position, long_name, ended = 0, "", False
    others: tuple[str, ...] = ()
    while position + _BLOCK <= len(octets):
        header = octets[position : position + _BLOCK]
        if not header.strip(b"\0"):
            ended = True  # some programs read on behind it
            position += _BLOCK
            continue
        if not is_header(header):
            if ended:
                return
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
            named = _pax_names(octets[body : body + min(size, _MAX_PAX)])
            long_name, others = (named[-1], named[:-1]) if named else (long_name, others)
        else:
            prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
            plain = "/".join(filter(None, (prefix, _text(header[:100]))))
            name, aliases = long_name or plain, (*others, *((plain,) if long_name else ()))
            long_name, others = "", ()
            # what nobody knows is a plain file (POSIX pax, "typeflag")
            if kind not in _NO_FILES and not (name.endswith("/") and not size):
                yield Member(name, size, read=partial(_read, octets, body, size), aliases=aliases[:8])
    if position > len(octets) + _BLOCK and not ended:
        raise BadArchiveError("cut off")


def _read(octets: bytes, body: int, size: int, limit: int) -> bytes:
    return octets[body : body + min(size, limit)]


def _pax_names(records: bytes) -> tuple[str, ...]:
    """Names that pax records give, the last of which counts: "length key=value\\n", the length of all of it."""
    found: list[str] = []
    position = 0
    while position < len(records):
        number, blank, _ = records[position : position + 12].partition(b" ")
        if not blank or not number.isdigit() or int(number) <= len(number) + 1:
            break
        key, equals, value = records[position + len(number) + 1 : position + int(number) - 1].partition(b"=")
        if equals and key in _PAX_NAMES:
            found.append(_text(value[:_MAX_NAME]))
        position += int(number)
    return tuple(found[-8:])


def is_header(header: bytes) -> bool:
    """Whether the 512 octets are a header: its checksum is right.  It counts its own field as blanks; some old writers add signed octets."""
    if len(header) < _BLOCK or not header[148:156].strip(b"\0 "):
        return False
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
