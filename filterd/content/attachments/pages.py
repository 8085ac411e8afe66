"""Owns the look at HTML files that come as attachments: do they build a file, or themselves, in the reader's browser?

Must not know links and words; mail bodies are not looked at here.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from filterd.content.attachments import magic
from filterd.content.attachments.finding import Kind
from filterd.content.attachments.magic import Type, true_type

_MAX_PAGE = 4_194_304  # octets that are looked at
_SMALL = 65_536  # octets of a page without its long literals: below it no chart or notebook library is in it
_MAX_LITERALS = 32
_LITERAL = re.compile(rb"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/=]{512,}")  # tried once for each run
_ASSEMBLES = (b"mssaveoropenblob", b"mssaveblob", b"createobjecturl", b"navigator.mssave")
_DECODES = (b"atob(", b"fromcharcode", b"uint8array", b"unescape(", b"charcodeat", b"new blob")
_WRITES = re.compile(
    rb"(?:document\.write(?:ln)?|eval|innerhtml\s{0,4}=)\s{0,4}\(?\s{0,4}(?:unescape|atob|decodeuri\w{0,12})\("
)
_DATA_FILE = re.compile(rb"href\s{0,4}=\s{0,4}[\"']data:application/(?!pdf)[a-z0-9.+-]{1,60};base64,", re.I)
_PASSWORD = re.compile(rb"<input[^>]{0,200}type\s{0,4}=\s{0,4}[\"']?password", re.I)
_HIDDEN = magic.ARCHIVES | magic.DISKS | magic.PROGRAMS | magic.SCRIPTS | magic.SHORTCUTS | {Type.OLE, Type.ONENOTE}


def look(octets: bytes) -> Iterator[tuple[Kind, str]]:
    """(kind, detail); never raises."""
    octets = octets[:_MAX_PAGE]
    if octets[:2] in (b"\xff\xfe", b"\xfe\xff"):
        octets = octets.replace(b"\0", b"")
    page = octets.lower()
    scripted = b"<script" in page or b"onload" in page or b"onerror" in page
    hidden = _hidden_file(octets)
    assembles = any(word in page for word in _ASSEMBLES) or (b".download" in page and b".click(" in page)
    small = len(_LITERAL.sub(b"", octets)) < _SMALL
    if hidden and ((scripted and assembles) or _DATA_FILE.search(octets)):
        yield Kind.SMUGGLING, f"holds a {hidden} that its script saves"
    elif scripted and assembles and small and any(word in page for word in _DECODES):
        yield Kind.SMUGGLING, "builds a file by script"
    if scripted and small and _WRITES.search(page):
        yield Kind.ACTIVE, "a page that writes itself by script"
    if _PASSWORD.search(octets):
        yield Kind.ACTIVE, "a page that asks for a password"
    drawing = page.find(b"<svg")
    if drawing >= 0 and (scripted or b"javascript:" in page) and b"<html" not in page[:drawing]:
        yield Kind.ACTIVE, "a picture (SVG) with script"


def _hidden_file(octets: bytes) -> str:
    """The type of the first base64 literal that is a file people must not get this way."""
    for count, match in enumerate(_LITERAL.finditer(octets)):
        if count >= _MAX_LITERALS:
            break
        begin = match.start()
        try:
            head = binascii.a2b_base64(octets[begin : begin + 4 * (magic.HEAD // 3)][: (match.end() - begin) // 4 * 4])
        except binascii.Error:
            continue
        kind = true_type(head)
        if kind in _HIDDEN:
            return kind.value
    return ""
