"""Owns the look at VBA and Excel 4 macros: is there code, and does it run by itself?  MS-OVBA 2.4.1, MS-XLS 2.4.28.

A small equivalent of oletools' olevba (names of the automatic procedures are its list): the source is found by the mark that
begins every compressed module, so that a damaged `dir` stream hides nothing.  Must not know where the octets come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from filterd.content.attachments.ole import Ole

_MAX_SOURCE = 262_144  # octets of source of one module that are looked at
_MAX_MODULES = 64  # of one stream
_MAX_TOTAL = 2_097_152  # octets of source of one document: 0.3 s
_MARK = b"\0Attribut"  # a module begins with Attribute VB_Name: flag octet, then eight literals (MS-OVBA 2.4.1.3)
# olevba's AUTOEXEC keywords: Word, Excel, PowerPoint, Publisher, and the events of ActiveX controls that fire by themselves.
_AUTOMATIC = re.compile(
    rb"\b(?:sub|function)\s{1,8}("
    rb"auto_?(?:exec|open|close|exit|new|activate|deactivate|add|remove)|autoopen|autoclose"
    rb"|document_?(?:open|close|new|beforeclose|change)|documentopen|newdocument"
    rb"|workbook_?(?:open|close|activate|deactivate|beforeclose)|worksheet_(?:activate|calculate|change)"
    rb"|slideshowbegin|onslideshow\w{0,20}"
    rb"|\w{1,40}_(?:painted|paint|gotfocus|lostfocus|layout|resize|onconnecting|onconnected|statuschange"
    rb"|beforenavigate2|navigatecomplete2|documentcomplete|downloadbegin|propertychange|titlechange|mouseenter|mouseleave))"
    rb"\s{0,8}\(",
    re.I,
)
_DOES = re.compile(
    rb"\b(shell|wscript\.shell|createobject|urldownloadtofile\w?|powershell|winhttp\w{0,20}|xmlhttp|adodb\.stream|cmd\.exe"
    rb"|shellexecute\w?|virtualalloc|rtlmovememory|mshta|regsvr32|getobject|callbyname|environ)\b",
    re.I,
)


_AUTOMATIC_NAME = re.compile(
    rb"auto_?open|auto_?exec|auto_?close|auto_?exit|document_open|document_close|document_new|workbook_open"
    rb"|workbook_activate|workbook_beforeclose|workbook_close",
    re.I,
)


def automatic_name(identifiers: bytes) -> str:
    """The first name of an automatic procedure in compiled code, "" when there is none."""
    match = _AUTOMATIC_NAME.search(identifiers)
    return match[0].decode("ascii") if match else ""


def sources(stream: bytes) -> Iterator[bytes]:
    """The source text of every compressed module in one stream."""
    position = stream.find(_MARK)
    for _ in range(_MAX_MODULES):
        if position < 3:
            return
        yield decompress(stream, position - 3)
        position = stream.find(_MARK, position + 1)


def decompress(stream: bytes, start: int) -> bytes:
    """A compressed container (2.4.1.3.1): chunks of at most 4096 octets; what follows a damaged one is left out."""
    if stream[start] != 1:
        return b""
    out = bytearray()
    position = start + 1
    while position + 2 <= len(stream) and len(out) < _MAX_SOURCE:
        header = stream[position] | stream[position + 1] << 8
        if header >> 12 & 7 != 3:
            break
        end = min(position + (header & 0xFFF) + 3, len(stream))
        position += 2
        if not header & 0x8000:
            out += stream[position:end]
        elif not _chunk(stream, position, end, out):
            break
        position = end
    return bytes(out)


def _chunk(stream: bytes, position: int, end: int, out: bytearray) -> bool:
    begin = len(out)
    while position < end:
        flags = stream[position]
        position += 1
        if not flags and position + 8 <= end:
            out += stream[position : position + 8]
            position += 8
            continue
        for bit in range(8):
            if position >= end or len(out) - begin > 4096:
                return True
            if not flags >> bit & 1:
                out.append(stream[position])
                position += 1
                continue
            if position + 2 > end:
                return False
            token = stream[position] | stream[position + 1] << 8
            position += 2
            width = max((len(out) - begin - 1).bit_length(), 4)  # 2.4.1.3.19.1
            length = (token & (0xFFFF >> width)) + 3
            offset = (token >> (16 - width)) + 1
            if offset > len(out) - begin:
                return False
            for _ in range(min(length, 4096)):
                out.append(out[-offset])
    return True


def look(ole: Ole, limit: int) -> tuple[str, str] | None:
    """("auto" or "plain", what was seen) when the file holds VBA with source; None when it has none."""
    code, total = False, 0
    automatic, does = "", set[str]()
    left = limit
    for entry in ole.entries:
        if entry.kind != 2 or left <= 0:
            continue
        if entry.name.lower() in ("dir", "_vba_project", "projectwm", "project"):
            continue
        if not (entry.size and entry.size < limit):
            continue
        stream = ole.read(entry, min(entry.size, left, 4_194_304))
        left -= len(stream)
        for source in sources(stream):
            total += len(source)
            if total > _MAX_TOTAL:
                return (
                    "auto",
                    "more code than is looked at",
                )  # such documents act when they are opened, with few exceptions
            lines = [
                line for line in source.splitlines() if not line.lower().startswith(b"attribute ") and line.strip()
            ]
            code = code or bool(lines)
            match = _AUTOMATIC.search(source)
            automatic = automatic or (match[1].decode("ascii", "replace") if match else "")
            does |= {word.decode("ascii", "replace").lower() for word in _DOES.findall(source)[:20]}
    text = ", ".join(filter(None, (automatic, *sorted(does)[:4])))
    if automatic:
        return "auto", text
    return ("plain", text or "VBA") if code else None


def excel_4(workbook: bytes) -> str:
    """Excel 4 macro sheets in a BIFF8 stream: "" none, "plain", or "auto" when a name says that they run on opening."""
    position, sheet, automatic = 0, False, False
    while position + 4 <= len(workbook):
        kind, size = (
            workbook[position] | workbook[position + 1] << 8,
            workbook[position + 2] | workbook[position + 3] << 8,
        )
        body = workbook[position + 4 : position + 4 + size]
        if kind == 0x85 and len(body) > 5 and body[5] == 1:  # BoundSheet8, dt = macro sheet
            sheet = True
        if kind == 0x18 and len(body) > 15:  # Lbl: fBuiltin, and the name 1 = Auto_Open, 2 = Auto_Close
            built_in = body[0] & 0x20
            name = body[15:16]
            automatic = automatic or bool(built_in and name in (b"\1", b"\2")) or b"auto_open" in body[:64].lower()
        position += 4 + size
        if kind == 0x09 and body[2:4] not in (b"\5\0", b"") and sheet:
            break  # the sheets begin; names and sheets stand in the globals before them
        if kind == 0 and size == 0:
            break
    return ("auto" if automatic else "plain") if sheet else ""
