"""Owns what a message says, read once for all who look at it: its parts, and of its text parts what people see.

Bounded: MAX_TEXTS parts, of each the first MAX_ENCODED octets (more while hardly anything was visible) and the last TAIL.
Never raises; what cannot be read becomes a marker.  Must not know what is suspicious about it.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

from filterd.content.decode import encoded, to_utf8, undo_encoding
from filterd.content.html import Anchor, Reduced, reduce_html
from filterd.content.mime import Part, Walk, walk
from filterd.mail.message import Message

MAX_TEXTS = 6
MAX_ENCODED = 24_576  # octets of an encoded body that are read (90 kB messages: 3 ms with it, 8 ms without)
_MAX_MORE = 98_304  # … and while less than _ENOUGH is visible: style sheets and hidden padding before the text
_ENOUGH = 600
TAIL = 6_144  # octets of the encoded end of a long part
_MAX_DATA_URLS = 3
_MAX_DATA_URL = 16_384
_DATA_URL = re.compile(rb"data:\s{0,4}text/(?:html|plain)[a-z0-9=;,_-]{0,60}?;base64,([a-z0-9+/=%\s]{16,16384})", re.I)
_KEY = "content"


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
    """The parts in order of appearance, what the text parts say, and what was abnormal (Walk.markers, unreadable-*)."""

    parts: tuple[Part, ...]
    texts: tuple[TextPart, ...]
    markers: tuple[str, ...]


def view_of(message: Message) -> ContentView:
    """The view of that message; made at the first call and kept with it."""
    known = message.shared.get(_KEY)
    if isinstance(known, ContentView):
        return known
    view = _read(message)
    message.shared[_KEY] = view
    return view


def _read(message: Message) -> ContentView:
    walked = Walk()
    texts: list[TextPart] = []
    markers: list[str] = []
    try:
        walked = walk(message)
        for part in walked.parts:
            if part.is_text and part.size and len(texts) < MAX_TEXTS:
                texts.append(_read_text(message, part))
    except Exception as error:  # what breaks our reading is still judged, by whatever was read before
        markers.append(f"unreadable-{type(error).__name__.lower()}")
    return ContentView(tuple(walked.parts), tuple(texts), (*walked.markers, *markers))


def _read_text(message: Message, part: Part) -> TextPart:
    size = min(part.size, MAX_ENCODED)
    raw = _decoded(message, part, 0, size)
    data = raw.lower()
    if part.content_type != "text/html" and not data[:500].lstrip().startswith((b"<html", b"<!doctype html")):
        tail = (
            _decoded(message, part, part.size - min(TAIL, part.size - size), TAIL).lower() if part.size > size else b""
        )
        return TextPart(part, data, tail=tail)
    reduced = reduce_html(data)
    while size < min(part.size, _MAX_MORE) and len(reduced.text.split()) * 6 < _ENOUGH:
        size = min(part.size, size * 4, _MAX_MORE)
        raw = _decoded(message, part, 0, size)
        reduced = reduce_html(raw.lower())
    tail = b""
    if part.size > size:
        tail = reduce_html(_decoded(message, part, part.size - min(TAIL, part.size - size), TAIL).lower()).text
    inner = _data_urls(raw) if b"base64," in raw else []
    return TextPart(
        part,
        b" ".join([reduced.text, *(found.text for found in inner)]),
        reduced.hidden,
        (*reduced.anchors, *(anchor for found in inner for anchor in found.anchors)),
        (*reduced.targets, *(target for found in inner for target in found.targets)),
        tuple(reduced.tags),
        True,
        tail,
    )


def _decoded(message: Message, part: Part, start: int, limit: int) -> bytes:
    if start and part.encoding == "base64":
        start -= start % 4  # whole groups of four, as long as the lines before have none but whole groups and CRLF
        raw = encoded(message, part, limit + 200, start)
        raw = raw[raw.find(b"\n") + 1 :]
    else:
        raw = encoded(message, part, limit, start)
    return to_utf8(undo_encoding(raw, part.encoding), part.charset)


def _data_urls(raw: bytes) -> list[Reduced]:
    """What pages inside of links say: HTML in base64 in an attribute is read by nobody else."""
    out: list[Reduced] = []
    for match in _DATA_URL.finditer(raw):
        clean = bytes(octet for octet in match[1].replace(b"%2b", b"+").replace(b"%2f", b"/") if octet > 32)
        usable = clean.rstrip(b"=%")
        try:
            page = binascii.a2b_base64(usable[: len(usable) // 4 * 4])
        except binascii.Error:
            continue
        out.append(reduce_html(to_utf8(page[:_MAX_DATA_URL], "").lower()))
        if len(out) >= _MAX_DATA_URLS:
            break
    return out
