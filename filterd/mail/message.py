"""Owns the received octets and lazy views on their header section.  RFC 5322 2.1, 2.2.

Never re-serialises: a message is only prepended to, or has whole fields left out (mail/headers.py).
Must not know where the octets lie (memory or a mapped file), nor what is suspicious about them.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from email.header import decode_header
from functools import cached_property
from typing import Any

# Bounds of what is split into fields; what lies beyond is one nameless field.  Exchange refuses more than 256 KB, and
# so do we (mail/headers.py, header_problem) before anything is passed on.
MAX_HEADER_OCTETS = 1_048_576
MAX_FIELDS = 10_000
_MAX_NAME = 2048  # octets in which a field name must end; RFC 5322 2.1.1 allows 998 a line
# RFC 5322 2.2 ftext; 4.5 allows blanks before the colon, and a lenient reader that unfolds first allows a fold there.
_FIELD_NAME = re.compile(rb"([!-9;-~]+)(?:[ \t]|\r\n[ \t])*+:")


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One header field as it stands in the message.

    Attributes:
        name: field name as written, without blanks before the colon; empty for a line that is no field at all.
        raw: all octets of the field with its folding, including the final CRLF.
        start: offset of `raw` in the message.
    """

    name: str
    raw: bytes
    start: int

    @property
    def key(self) -> str:
        """Lower-case name."""
        return self.name.lower()

    @property
    def body(self) -> bytes:
        """Everything after the colon, folding kept, final CRLF removed."""
        return self.raw.partition(b":")[2].removesuffix(b"\n").removesuffix(b"\r")

    @property
    def value(self) -> str:
        """The field body unfolded and stripped; octets that are no UTF-8 become U+FFFD."""
        return self.body.replace(b"\r\n", b"").replace(b"\n", b"").decode("utf-8", "replace").strip()


WholeOctets = bytes | mmap.mmap


class Tail:
    """The octets of a received message from an offset on, without a copy: a mapped file stays on disk."""

    def __init__(self, octets: WholeOctets, start: int) -> None:
        self._octets = octets
        self._start = start

    def __len__(self) -> int:
        return len(self._octets) - self._start

    def __getitem__(self, part: slice) -> bytes:
        """A copy of one part; bounds as usual, step 1, none negative."""
        start, stop, _ = part.indices(len(self))
        return self._octets[self._start + start : self._start + stop]

    def __bytes__(self) -> bytes:
        return self[:]


Octets = WholeOctets | Tail


class Message:
    """The octets after DATA, dots undone, CRLF line ends, and what can be read from the header section."""

    def __init__(self, octets: WholeOctets) -> None:
        self.octets = octets
        self.views: dict[str, bytes] = {}  # results that a check computed anyway and the record wants (features)
        self.shared: dict[str, Any] = {}  # what one check computed and another needs too; each key has one owner

    def __len__(self) -> int:
        return len(self.octets)

    @cached_property
    def header_end(self) -> int:
        """Offset of the first octet after the last header field (the empty line, if there is one)."""
        if self.octets[:2] == b"\r\n":
            return 0
        at = self.octets.find(b"\r\n\r\n")
        return len(self.octets) if at < 0 else at + 2

    @cached_property
    def body_start(self) -> int:
        """Offset of the first octet after the empty line; the length of the message when there is none."""
        return min(self.header_end + 2, len(self.octets))

    @cached_property
    def header_section(self) -> bytes:
        """The header fields as octets, without the empty line."""
        return bytes(self.octets[: self.header_end])

    @cached_property
    def fields(self) -> tuple[HeaderField, ...]:
        """Every header field in order; what exceeds MAX_FIELDS or MAX_HEADER_OCTETS is one nameless field at the end."""
        section = bytes(self.octets[: min(self.header_end, MAX_HEADER_OCTETS)])
        fields: list[HeaderField] = []
        position, end = 0, len(section)
        while position < end:
            if len(fields) >= MAX_FIELDS:
                break
            start = position
            position = _line_end(section, position)
            while position < end and section[position] in b" \t":
                position = _line_end(section, position)
            raw = section[start:position]
            match = _FIELD_NAME.match(raw, 0, _MAX_NAME)
            fields.append(HeaderField(match[1].decode("ascii") if match else "", raw, start))
        if position < self.header_end:
            fields.append(HeaderField("", bytes(self.octets[position : self.header_end]), position))
        return tuple(fields)

    @cached_property
    def _by_key(self) -> dict[str, list[HeaderField]]:
        table: dict[str, list[HeaderField]] = {}
        for header in self.fields:
            table.setdefault(header.key, []).append(header)
        return table

    @cached_property
    def ends_early(self) -> bool:
        """Whether a line of the header section is no field by itself: many readers take it for the first line of the body."""
        return any(not header.name or b":" not in header.raw.partition(b"\r\n")[0] for header in self.fields)

    def all(self, name: str) -> list[HeaderField]:
        """Every field of that name, topmost first; the name is compared without case."""
        return self._by_key.get(name.lower(), [])

    def first(self, name: str) -> str:
        """Value of the topmost field of that name, empty when there is none."""
        fields = self.all(name)
        return fields[0].value if fields else ""

    @cached_property
    def subject(self) -> str:
        """Subject with encoded words decoded, at most 500 characters, for people."""
        return decode_words(self.first("subject")[:2000])[:500]


def _line_end(section: bytes, position: int) -> int:
    at = section.find(b"\n", position)
    return len(section) if at < 0 else at + 1


def decode_words(text: str) -> str:
    """RFC 2047 encoded words decoded as far as they can be; never raises.  `text` must be bounded by the caller."""
    # As octets: beside an encoded word the library makes "\u0415" of a letter, and loses those of Latin-1.
    octets = text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")
    try:
        pieces = decode_header(octets)
    except Exception:  # the standard library raises several kinds on hostile input; the raw text is the answer then
        return text
    out: list[str] = []
    for piece, charset in pieces:
        if isinstance(piece, str):
            return text  # no encoded word in it
        try:
            out.append(piece.decode(charset or "utf-8", "replace"))
        except (LookupError, ValueError):
            out.append(piece.decode("latin-1"))
    return "".join(out) or text  # nothing readable in it: better the raw words than none
