"""Owns winmail.dat: the messages and files that Outlook packs into one part.  [MS-OXTNEF] 2.1, 2.1.3.4, 2.1.3.5.

An own reader, linear and without recursion on what it reads: tnefparse copies the rest of the file for every attribute and
calls itself for every embedded message (docs/decisions/0017).  Its results are compared with tnefparse's in the tests.
Must not know what is done with them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from filterd.reportmail import mapi
from filterd.reportmail.mapi import MAX_FILES, MapiMessage

SIGNATURE: Final = b"\x78\x9f\x3e\x22"
_LEVEL_ATTACHMENT: Final = 2
# Attributes of [MS-OXTNEF] 2.1.1: the low words of their ids.
_SUBJECT, _BODY, _DATA, _TITLE = 0x8004, 0x800C, 0x800F, 0x8010
_RENDERING, _PROPERTIES, _ATTACHMENT, _CODEPAGE = 0x9002, 0x9003, 0x9005, 0x9007
_MAX_PROPERTIES = 10_000  # of one attribute; a message has some hundreds
_FIXED: Final = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 10: 4, 11: 4, 20: 8, 64: 8, 72: 16}  # type -> octets with padding
_OBJECT, _STRING8, _UNICODE, _BINARY = 0x000D, 0x001E, 0x001F, 0x0102
_VARIABLE: Final = frozenset({_OBJECT, _STRING8, _UNICODE, _BINARY})
_MULTIPLE: Final = 0x1000
_INTERFACE = 16  # octets before an embedded message: the interface id IID_IMessage

Property = tuple[int, int, memoryview]  # id, type, value (of several values the first)


class TnefError(ValueError):
    """It is none."""


def read(octets: bytes | memoryview, depth: int = 1) -> MapiMessage:
    """The message that is packed; with `depth` 0 without the messages that are attached to it.

    Raises TnefError when it does not begin as one; what is broken later ends there, with what was found until then.
    """
    data = memoryview(octets)
    if bytes(data[:4]) != SIGNATURE:
        raise TnefError("no TNEF signature")
    message = MapiMessage()
    codepage = "cp1252"
    attached: list[_Attachment] = []
    for level, name, value in _attributes(data):
        if level == _LEVEL_ATTACHMENT:
            if name == _RENDERING:
                if len(attached) < MAX_FILES:
                    attached.append(_Attachment())
                else:
                    message.left_out += 1
            elif attached and not message.left_out:
                attached[-1].take(name, value, codepage)
        elif name == _CODEPAGE and len(value) >= 4:
            codepage = f"cp{struct.unpack_from('<I', value)[0]}"
        elif name == _SUBJECT:
            message.texts.setdefault(mapi.SUBJECT, text(value, codepage))
        elif name == _BODY:
            message.texts.setdefault(mapi.BODY, text(value, codepage))
        elif name == _PROPERTIES:
            _take(message, value, codepage)
    for item in attached:
        if item.message is None:
            message.files.append((item.name, bytes(item.data)))
        elif depth > 0:
            try:
                message.messages.append(read(item.message, depth - 1))
            except TnefError:
                continue
    return message


class _Attachment:
    """One attachment while its attributes come."""

    def __init__(self) -> None:
        self.name = ""
        self.data: memoryview = memoryview(b"")
        self.message: memoryview | None = None

    def take(self, name: int, value: memoryview, codepage: str) -> None:
        if name == _TITLE:
            self.name = self.name or text(value, codepage)
        elif name == _DATA:
            self.data = value
        elif name == _ATTACHMENT:
            for id, kind, octets in properties(value):
                if id == mapi.ATTACHED and kind == _OBJECT:
                    self.message = octets[_INTERFACE:]
                elif id == mapi.ATTACHED and kind == _BINARY:
                    self.data = octets
                elif id == mapi.LONG_NAME:
                    self.name = decoded(kind, octets, codepage)


def _take(message: MapiMessage, value: memoryview, codepage: str) -> None:
    for id, kind, octets in properties(value):
        if id in mapi.TEXTS and kind in (_STRING8, _UNICODE):
            message.texts[id] = decoded(kind, octets, codepage)
        elif id == mapi.HTML and kind in _VARIABLE:
            message.html = (
                decoded(kind, octets, codepage).encode("utf-8", "replace") if kind == _UNICODE else bytes(octets)
            )
        elif id == mapi.CODEPAGE and len(octets) >= 4:
            message.codepage = struct.unpack_from("<I", octets)[0]


def _attributes(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """(level, id, value) of each attribute; ends at the first that is not whole."""
    position = 6
    while position + 11 <= len(data):
        level, name, _, length = struct.unpack_from("<BHHI", data, position)
        begin = position + 9
        if begin + length > len(data):
            return
        yield level, name, data[begin : begin + length]
        position = begin + length + 2  # the checksum says nothing that we would not take


def properties(data: memoryview) -> Iterator[Property]:
    """The MAPI properties of one attribute; ends at the first that is not whole or of no known type."""
    try:
        (count,) = struct.unpack_from("<I", data, 0)
        position = 4
        for _ in range(min(count, _MAX_PROPERTIES)):
            kind, id = struct.unpack_from("<HH", data, position)
            position += 4
            if id >= 0x8000:
                position = _after_name(data, position)
            value, position = _value(data, position, kind)
            yield id, kind & ~_MULTIPLE, value
    except (struct.error, ValueError):
        return


def _after_name(data: memoryview, position: int) -> int:
    """Behind the name of a named property: a GUID, a kind, a number or a text."""
    (kind,) = struct.unpack_from("<I", data, position + 16)
    (more,) = struct.unpack_from("<I", data, position + 20)
    return position + 24 + (_padded(more) if kind else 0)


def _value(data: memoryview, position: int, kind: int) -> tuple[memoryview, int]:
    """(the first value, behind the last).  Raises ValueError or struct.error."""
    simple = kind & ~_MULTIPLE
    variable = simple in _VARIABLE
    values = 1
    if variable or kind & _MULTIPLE:
        (values,) = struct.unpack_from("<I", data, position)
        position += 4
    first: memoryview | None = None
    for _ in range(values):
        if variable:
            (length,) = struct.unpack_from("<I", data, position)
            position, size = position + 4, length
            step = _padded(length)
        else:
            size = step = _FIXED.get(simple, 0)
        if not step and not variable:
            raise ValueError("a type that is none")
        if position + size > len(data):
            raise ValueError("a value that is not whole")
        first = data[position : position + size] if first is None else first
        position += step
    return memoryview(b"") if first is None else first, position


def _padded(length: int) -> int:
    return length + (-length & 3)


def decoded(kind: int, octets: memoryview | bytes, codepage: str) -> str:
    """A text property."""
    return bytes(octets).decode("utf-16-le", "replace").rstrip("\0") if kind == _UNICODE else text(octets, codepage)


def text(octets: memoryview | bytes, codepage: str) -> str:
    """Text of one octet for a letter; an unknown code page is Windows-1252."""
    try:
        return bytes(octets).decode(codepage, "replace").rstrip("\0")
    except LookupError:
        return bytes(octets).decode("cp1252", "replace").rstrip("\0")
