"""Owns what a message says, read once for all who look at it: its parts, and of its text parts what people see.

Bounded: MAX_TEXTS parts, of each the first MAX_ENCODED octets (more while hardly anything was visible) and the last TAIL.
Never raises; what cannot be read becomes a marker.  Must not know what is suspicious about it.
"""

from __future__ import annotations

import binascii
import html
import re
from dataclasses import dataclass
from threading import Lock
from urllib.parse import unquote_to_bytes

from filterd.content.decode import encoded, to_utf8, undo_encoding
from filterd.content.html import Anchor, Reduced, reduce_html
from filterd.content.mime import Part, Walk, walk
from filterd.mail.message import Message

# Text parts that are read: the first and the last.  A digest of a list has 30, all other real mail at most six.
MAX_TEXTS = 12
_LAST_TEXTS = 4
MAX_ENCODED = 24_576  # octets of an encoded body that are read (90 kB messages: 3 ms with it, 8 ms without)
# … and, of one part or of all together, while less than _ENOUGH is visible: style sheets and hidden padding before the text.
_MAX_ALL = 65_536
_ENOUGH = 600
TAIL = 6_144  # octets of the encoded end of a long part
_LONG_LINE = 200  # octets of base64; to the end of an ordinary line what is read of an end is left out
_MAX_INNER = 3  # pages inside of attributes that are read, in all
_MAX_INNER_OCTETS = 16_384
_DATA_URL = re.compile(
    rb"data:\s{0,4}(?:text/(?:html|plain)|application/xhtml\+xml)[a-z0-9=;_\s\"-]{0,80}?(;base64)?,([^\"'<>]{16,49152})",
    re.I,
)
_SRCDOC = re.compile(rb"srcdoc\s{0,8}=\s{0,8}(?:\"([^\"]{1,49152})|'([^']{1,49152}))", re.I)
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_KEY, _LOCK = "content", "content lock"


@dataclass(frozen=True, slots=True)
class TextPart:
    """What one text part says; everything is lower-case UTF-8.

    Attributes:
        part: where it lies.
        text: what people see of its beginning, white space as it stands.
        hidden: text of an HTML part that cannot be seen.
        anchors: links of an HTML part with the text that stands on them.
        targets: link, image and form targets of an HTML part.
        tags: names of the opening tags of an HTML part, in order, with repeats.
        is_html: whether it was read as HTML.
        tail: what people see of the end, empty for a part that was read whole.
    """

    part: Part
    text: bytes
    hidden: bytes = b""
    anchors: tuple[Anchor, ...] = ()
    targets: tuple[bytes, ...] = ()
    tags: tuple[bytes, ...] = ()
    is_html: bool = False
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class ContentView:
    """The parts in order of appearance, what the text parts say, and what was abnormal (Walk.markers, texts, unreadable-*)."""

    parts: tuple[Part, ...]
    texts: tuple[TextPart, ...]
    markers: tuple[str, ...]


def view_of(message: Message) -> ContentView:
    """The view of that message; made at the first call and kept with it."""
    known = message.shared.get(_KEY)
    if isinstance(known, ContentView):
        return known
    with message.shared.setdefault(_LOCK, Lock()):  # of two threads that ask at once, one waits
        known = message.shared.get(_KEY)
        if isinstance(known, ContentView):
            return known
        view = message.shared[_KEY] = _read(message)
    return view


def _read(message: Message) -> ContentView:
    walked = Walk()
    texts: list[TextPart] = []
    markers: list[str] = []
    try:
        walked = walk(message)
        parts = [part for part in walked.parts if part.is_text and part.size]
        if len(parts) > MAX_TEXTS:
            markers.append("texts")
            parts = parts[: MAX_TEXTS - _LAST_TEXTS] + parts[-_LAST_TEXTS:]
        # A page that is sent as a file is what there is to read when there is nothing else.
        parts = parts or [part for part in walked.parts if part.content_type.startswith("text/") and part.size][:2]
        most = min(MAX_ENCODED, _MAX_ALL // max(len(parts), 1))
        more = _MAX_ALL
        for part in parts:
            text, size = _read_text(message, part, most, more)
            texts.append(text)
            more -= max(size - most, 0)
    except Exception as error:  # what breaks our reading is still judged, by whatever was read before
        markers.append(f"unreadable-{type(error).__name__.lower()}")
    return ContentView(tuple(walked.parts), tuple(texts), (*walked.markers, *markers))


def _read_text(message: Message, part: Part, most: int, more: int) -> tuple[TextPart, int]:
    """(what the part says, octets that were read from its beginning): `most`, or up to `more` when hardly anything is seen."""
    size = min(part.size, most)
    raw = _decoded(message, part, 0, size)
    data = raw.lower()
    if part.content_type != "text/html" and not data[:500].lstrip().startswith((b"<html", b"<!doctype html")):
        tail = (
            _decoded(message, part, part.size - min(TAIL, part.size - size), TAIL).lower() if part.size > size else b""
        )
        return TextPart(part, data, tail=tail), size
    reduced = reduce_html(data)
    if reduced.seen < _ENOUGH and size < min(part.size, more):
        size = min(part.size, more)
        raw = _decoded(message, part, 0, size)
        reduced = reduce_html(raw.lower())
    tail = b""
    # What follows hidden text is hidden as well, unless there was hardly anything to see before.
    if part.size > size and not (reduced.ends_unseen and reduced.seen >= _ENOUGH):
        tail = reduce_html(_decoded(message, part, part.size - min(TAIL, part.size - size), TAIL).lower()).text
    inner = _inner_pages(raw)
    text = TextPart(
        part,
        b" ".join([reduced.text, *(found.text for found in inner)]),
        reduced.hidden,
        (*reduced.anchors, *(anchor for found in inner for anchor in found.anchors)),
        (*reduced.targets, *(target for found in inner for target in found.targets)),
        tuple(reduced.tags),
        True,
        tail,
    )
    return text, size


def _decoded(message: Message, part: Part, start: int, limit: int) -> bytes:
    if start and part.encoding == "base64":
        start -= start % 4  # whole groups of four, as long as the lines before have none but whole groups and CRLF
        raw = encoded(message, part, limit + 200, start)
        line = raw.find(b"\n")
        if 0 <= line < _LONG_LINE:
            raw = raw[line + 1 :]
        else:  # whole groups, counted from where the line ends
            raw = raw[len(raw[: line if line >= 0 else len(raw)].rstrip()) % 4 :]
    else:
        raw = encoded(message, part, limit, start)
    return to_utf8(undo_encoding(raw, part.encoding), part.charset)


def _inner_pages(raw: bytes) -> list[Reduced]:
    """What pages inside of attributes say (data: addresses, srcdoc): they are read by nobody else."""
    pages: list[bytes] = []
    lower = raw.lower()
    if b"data:" in lower:
        for match in _DATA_URL.finditer(raw):
            pages.append(to_utf8(_of_base64(match[2]) if match[1] else unquote_to_bytes(match[2]), ""))
            if len(pages) >= _MAX_INNER:
                break
    if b"srcdoc" in lower:
        for match in _SRCDOC.finditer(raw):
            page = match[1] or match[2] or b""
            pages.append(html.unescape(page.decode("utf-8", "replace")).encode("utf-8", "replace"))
            if len(pages) >= _MAX_INNER:
                break
    return [reduce_html(page[:_MAX_INNER_OCTETS].lower()) for page in pages[:_MAX_INNER]]


def _of_base64(text: bytes) -> bytes:
    usable = unquote_to_bytes(text).translate(None, _NOT_BASE64)
    try:
        return binascii.a2b_base64(usable[: len(usable) // 4 * 4] + (usable[len(usable) // 4 * 4 :] + b"===")[:4])
    except binascii.Error:
        return b""
