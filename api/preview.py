"""Owns the safe preview of a message: decoded header fields, text and names of attachments, nothing that can act.

HTML is reduced to text; every link is defanged (hxxp, [.]) wherever it stands; nothing is fetched; everything is bounded.
Must not know quarantine or HTTP.  Never raises on any message.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from api.plain import defang, html_to_text, visible
from filterd.content.decode import encoded, to_utf8, undo_encoding
from filterd.content.mime import Part, walk
from filterd.content.view import MAX_ENCODED
from filterd.mail.message import HeaderField, Message, decode_words

MAX_HEADERS = 200
MAX_VALUE = 2_000
MAX_TEXT = 65_536  # characters of all text parts together


class PreviewHeader(BaseModel):
    """One header field, encoded words decoded, links defanged."""

    name: str
    value: str


class PreviewAttachment(BaseModel):
    """A part that is not shown as text."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """File name as the sender wrote it, empty when there is none; never use it as a path."""
    content_type: str
    """Type as the sender wrote it."""
    size: int
    """Octets after transfer decoding, computed from the encoded length."""


class Preview(BaseModel):
    """What a person may look at without danger."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    headers: list[PreviewHeader]
    """Header fields in order."""
    text: str
    """Text parts one after the other; HTML reduced to text, links defanged."""
    attachments: list[PreviewAttachment]
    """Everything else, in order."""
    truncated: list[str]
    """What was cut: headers, text, or what exceeded the bounds of the MIME reader (parts, depth, boundary)."""


def preview(octets: bytes) -> Preview:
    """The preview of a message.  Work and result are bounded whatever the message."""
    message = Message(octets)
    structure = walk(message)
    truncated = sorted(set(structure.markers))
    fields = message.fields
    if len(fields) > MAX_HEADERS or any(len(field.raw) > MAX_VALUE for field in fields[:MAX_HEADERS]):
        truncated.append("headers")
    text, cut = _text(message, [part for part in structure.parts if part.is_text])
    if cut:
        truncated.append("text")
    return Preview(
        headers=[_header(field) for field in fields[:MAX_HEADERS]],
        text=text,
        attachments=[_attachment(message, part) for part in structure.parts if not (part.is_container or part.is_text)],
        truncated=truncated,
    )


def _header(field: HeaderField) -> PreviewHeader:
    value = field.raw[: MAX_VALUE + len(field.name) + 1].decode("utf-8", "replace")
    value = value.partition(":")[2] if field.name else value
    value = " ".join(value.split())
    return PreviewHeader(name=field.name[:200], value=defang(visible(decode_words(value)))[:MAX_VALUE])


def _text(message: Message, parts: list[Part]) -> tuple[str, bool]:
    pieces: list[str] = []
    left = MAX_TEXT
    cut = False
    # An HTML part usually repeats the plain one; both are shown, because a deceiver lets them differ.
    for part in parts:
        raw = undo_encoding(encoded(message, part, MAX_ENCODED), part.encoding)
        text = to_utf8(raw, part.charset).decode("utf-8", "replace")
        is_html = part.content_type == "text/html" or text[:500].lstrip().lower().startswith(
            ("<html", "<!doctype html")
        )
        shown = defang(visible(html_to_text(text) if is_html else text)).strip()
        if not shown:
            continue
        if is_html and len(parts) > 1:
            shown = "[HTML part as text]\n" + shown
        cut = cut or len(shown) > left or part.size > MAX_ENCODED
        pieces.append(shown[:left])
        left -= len(pieces[-1])
        if left <= 0:
            break
    return "\n\n".join(pieces), cut


def _attachment(message: Message, part: Part) -> PreviewAttachment:
    return PreviewAttachment(
        name=visible(part.name).replace("\n", " ")[:200],
        content_type=part.content_type[:150],
        size=_decoded_size(message, part),
    )


def _decoded_size(message: Message, part: Part) -> int:
    if part.encoding != "base64":
        return part.size
    body = encoded(message, part, part.size)
    return (len(body) - body.count(b"\n") - body.count(b"\r") - body.count(b"=")) * 3 // 4
