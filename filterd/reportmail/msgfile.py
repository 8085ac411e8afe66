"""Owns Outlook's .msg files: which streams of the compound file are which property.  [MS-OXMSG] 2.

The compound file itself is olefile's to read; whatever it stumbles over is one error.  Runs in a process with limits
(adapters/unpack_child.py), because a file made for it can make olefile work long.  Must not know what is done with it.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any, Final

import olefile

from filterd.reportmail import mapi
from filterd.reportmail.mapi import MAX_FILES, MapiMessage
from filterd.reportmail.tnef import decoded

SIGNATURE: Final = olefile.MAGIC
_STRING8, _UNICODE, _BINARY, _OBJECT = 0x001E, 0x001F, 0x0102, 0x000D
_PROPERTIES: Final = "__properties_version1.0"
_HEADS: Final = (32, 24, 8)  # octets before the entries: of the message, of an attached one, of an attachment
_ENTRY: Final = struct.Struct("<IIQ")  # tag, flags, value
_MAX_ENTRIES = 2_000
_OLD_CODEPAGE = 0x3FFD  # PidTagMessageCodepage: of texts with one octet for a letter


class MsgError(ValueError):
    """It is none, or it is broken."""


def read(octets: bytes) -> MapiMessage:
    """The message in the file, with those attached to it.  Raises MsgError."""
    if not octets.startswith(SIGNATURE):
        raise MsgError("no compound file")
    try:
        with olefile.OleFileIO(io.BytesIO(octets)) as file:
            message = _message(_File(file, 2 * len(octets)), [], depth=1)
    except MsgError:
        raise
    except (RecursionError, MemoryError):
        raise MsgError("the compound file is nested too deep or too large") from None
    except Exception as error:  # olefile raises many kinds on files that are made for it
        raise MsgError(f"the compound file is broken: {type(error).__name__}") from None
    if not message.is_mail:
        raise MsgError("the compound file is no message")
    return message


@dataclass(slots=True)
class _File:
    """An open compound file.  Olefile looks for a name through all names, and streams may share their sectors: with both a
    file of a megabyte keeps it busy for minutes, and so could a spam mail keep itself from being reported.

    Attributes:
        left: octets that may still be read; the streams of an honest file are together shorter than it.
    """

    ole: olefile.OleFileIO
    left: int

    def entry(self, path: list[str]) -> Any | None:
        """The directory entry of a storage or stream."""
        found = self.ole.root
        for name in path:
            found = found.kids_dict.get(name.lower()) if found is not None else None
        return found

    def octets(self, path: list[str]) -> bytes:
        """A stream; empty when there is none."""
        entry = self.entry(path)
        if entry is None or entry.entry_type != olefile.STGTY_STREAM:
            return b""
        self.left -= entry.size
        if self.left < 0:
            raise MsgError("the streams of the compound file are longer than the file")
        with self.ole._open(entry.isectStart, entry.size) as stream:
            return bytes(stream.read())


def _message(file: _File, path: list[str], depth: int) -> MapiMessage:
    message = MapiMessage()
    numbers = _numbers(file, path, _HEADS[1] if path else _HEADS[0])
    message.codepage = numbers.get(mapi.CODEPAGE, 0)
    codepage = f"cp{numbers.get(_OLD_CODEPAGE, 1252)}"
    for id in mapi.TEXTS:
        if value := _text(file, path, id, codepage):
            message.texts[id] = value
    message.html = _stream(file, path, mapi.HTML, _BINARY) or _text(file, path, mapi.HTML, codepage).encode(
        "utf-8", "replace"
    )
    for number in range(MAX_FILES):
        below = [*path, f"__attach_version1.0_#{number:08X}"]
        if file.entry(below) is None:
            continue
        inner = [*below, _name(mapi.ATTACHED, _OBJECT)]
        if file.entry([*inner, _PROPERTIES]) is not None:
            if depth > 0:
                message.messages.append(_message(file, inner, depth - 1))
            continue
        names = (_text(file, below, id, codepage) for id in (mapi.LONG_NAME, mapi.SHORT_NAME, mapi.DISPLAY_NAME))
        message.files.append((next(filter(None, names), ""), _stream(file, below, mapi.ATTACHED, _BINARY)))
    return message


def _name(id: int, kind: int) -> str:
    return f"__substg1.0_{id:04X}{kind:04X}"


def _text(file: _File, path: list[str], id: int, codepage: str) -> str:
    for kind in (_UNICODE, _STRING8):
        if octets := _stream(file, path, id, kind):
            return decoded(kind, octets, codepage)
    return ""


def _stream(file: _File, path: list[str], id: int, kind: int) -> bytes:
    return file.octets([*path, _name(id, kind)])


def _numbers(file: _File, path: list[str], head: int) -> dict[int, int]:
    """The properties of fixed length, by id, as numbers."""
    octets = file.octets([*path, _PROPERTIES])[head : head + _MAX_ENTRIES * _ENTRY.size]
    octets = octets[: len(octets) // _ENTRY.size * _ENTRY.size]
    return {tag >> 16: value & 0xFFFFFFFF for tag, _, value in _ENTRY.iter_unpack(octets) if tag & 0xFFFF == 3}
