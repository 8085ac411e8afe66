"""Owns the look into RTF: embedded objects, however their digits are broken up, and templates from elsewhere.  RTF 1.9.1, MS-OLEDS 2.2.

Must not know what lies in the objects; packages and compound files are given back as members.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from filterd.content.attachments.documents import Fact, cut, package
from filterd.content.attachments.finding import Kind, Member

_MAX_OBJECTS = 32
_MAX_DIGITS = 8_388_608  # octets of hexadecimal text of all objects of one file
_MAX_BROKEN = 1_048_576  # of these, where they are read in the slower ways
_CONTROL = re.compile(rb"\\[a-zA-Z]{1,32}-?\d{0,10} ?|\\.|[{}]", re.DOTALL)
_CHARACTER = re.compile(rb"\\'..", re.DOTALL)
_BINARY = re.compile(rb"\\bin(\d{1,9}) ?")
_BRACE = re.compile(rb"\\.|[{}]", re.DOTALL)
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdefABCDEF"))
_MAX_TEMPLATES, _MAX_TEMPLATE = 8, 4_000
_ESCAPED = re.compile(rb"\\u(-?\d{1,6}) ?\??|\\'([0-9a-f]{2})|\\\\", re.I)
_ELSEWHERE = re.compile(rb"^(?:\*?\s{0,8})(?:https?:|ftp:|file:/{2}|\\\\)", re.I)


def members(octets: bytes) -> Iterator[Member | Fact]:
    """Templates and objects: class names, packages, compound files.  Never raises."""
    if any(_ELSEWHERE.match(name) for name in _templates(octets)):
        yield Kind.ACTIVE, "template from elsewhere"
    position = octets.find(b"\\objdata")
    left = _MAX_DIGITS
    for _ in range(_MAX_OBJECTS):
        if position < 0 or left <= 0:
            break
        following = octets.find(b"\\objdata", position + 8)
        end = following if following >= 0 else len(octets)
        text = octets[position + 8 : min(end, position + left)]
        left -= len(text)
        plain = _octets(_CONTROL.sub(b"", text))
        data = plain if _is_object(plain) else next(filter(_is_object, _other_readings(text)), b"")
        if not data and _octets(_CONTROL.sub(b"", _own(text[:_MAX_BROKEN]))):
            yield Kind.ACTIVE, "an object that cannot be read"
        yield from _object(data or plain)
        position = following


def _templates(octets: bytes) -> Iterator[bytes]:
    """What stands behind \\template, escapes undone."""
    position = octets.find(b"\\template")
    for _ in range(_MAX_TEMPLATES):
        if position < 0:
            return
        raw = octets[position + 9 : position + 9 + _MAX_TEMPLATE].partition(b"}")[0]
        yield _ESCAPED.sub(_character, raw).strip(b" \r\n{")
        position = octets.find(b"\\template", position + 9)


def _character(match: re.Match[bytes]) -> bytes:
    if match[1] is None and match[2] is None:
        return b"\\"
    number = int(match[1]) & 0xFFFF if match[1] is not None else int(match[2], 16)
    if 0xF000 <= number <= 0xF0FF:  # symbols of a font, RTF's private use: U+F0xx is shown as xx
        number -= 0xF000
    return bytes([number]) if number < 128 else b"?"


def _octets(text: bytes) -> bytes:
    digits = text.translate(None, _NOT_HEX)
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))


def _other_readings(text: bytes) -> Iterator[bytes]:
    """The object as Word reads it where more than control words stand between the digits: groups, characters, binary data."""
    text = text[:_MAX_BROKEN]
    for match in _BINARY.finditer(text[:4_096]):
        yield text[match.end() : match.end() + int(match[1])]
    yield _octets(_CONTROL.sub(b"", _CHARACTER.sub(b"", text)))
    own = _own(text)
    yield _octets(_CONTROL.sub(b"", own))
    yield _octets(_CONTROL.sub(b"", _CHARACTER.sub(b"", own)))


def _own(text: bytes) -> bytes:
    """The text without the groups in it, up to the end of its own."""
    out: list[bytes] = []
    depth, begin = 0, 0
    for match in _BRACE.finditer(text):
        if match[0] == b"{":
            if not depth:
                out.append(text[begin : match.start()])
            depth += 1
        elif match[0] == b"}":
            depth -= 1
            if depth < 0:
                out.append(text[begin : match.start()])
                return b"".join(out)
            begin = match.end()
    if not depth:
        out.append(text[begin:])
    return b"".join(out)


def _is_object(data: bytes) -> bool:
    """Whether it begins as MS-OLEDS 2.2.4 says; Word does not look at the version in the first four octets."""
    size = int.from_bytes(data[8:12], "little")
    name = data[12 : 12 + size]
    return data[4:8] in (b"\1\0\0\0", b"\2\0\0\0") and 0 < size <= 256 and name[-1:] == b"\0" and name.isascii()


def _object(data: bytes) -> Iterator[Member | Fact]:
    head = data[:512].lower()
    if b"equation." in head or b"\x02\xce\x02\0\0\0\0\0" in data[:8_192]:
        yield Kind.ACTIVE, "an Equation Editor object"
    if b"ole2link" in head:
        yield Kind.ACTIVE, "a link to a document elsewhere"
    at = head.find(b"package\0")
    if at >= 0:
        member = package(data[at + 8 + 12 - 4 :]) or package(data[at + 8 + 8 :])
        yield Kind.ACTIVE, "a file embedded as a package"
        if member is not None:
            yield member
    ole = data.find(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    if ole >= 0:
        yield Member("", len(data) - ole, read=partial(cut, data, ole, len(data)))
