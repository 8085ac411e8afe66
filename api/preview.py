"""Owns the safe preview of a message: decoded header fields, text and names of attachments, nothing that can act.

HTML is reduced to text; every link is defanged (hxxp, [.]) wherever it stands; nothing is fetched; everything is bounded.
Must not know quarantine or HTTP.  Never raises on any message.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict

from api.plain import defang, html_to_text, visible
from filterd.classifier.mime import MAX_ENCODED, Part, decode_body, walk
from filterd.mail.message import HeaderField, Message, decode_words

MAX_HEADERS = 200
MAX_VALUE = 2_000
MAX_TEXT = 65_536  # characters of all text parts together
_EXTENDED = re.compile(r"[A-Za-z0-9_-]{1,40}'[^']{0,40}'")  # RFC 2231 charset'language' before a percent-encoded name


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
    structure = walk(message, len(message))  # all of it: an attachment behind a large one must not be hidden
    truncated = sorted(set(structure.markers))
    fields = message.fields
    if len(fields) > MAX_HEADERS or any(len(field.raw) > MAX_VALUE for field in fields[:MAX_HEADERS]):
        truncated.append("headers")
    text, cut = _text([part for part in structure.parts if part.is_text])
    if cut:
        truncated.append("text")
    return Preview(
        headers=[_header(field) for field in fields[:MAX_HEADERS]],
        text=text,
        attachments=[_attachment(part) for part in structure.parts if not _is_container(part) and not part.is_text],
        truncated=truncated,
    )


def _header(field: HeaderField) -> PreviewHeader:
    value = field.raw[: MAX_VALUE + len(field.name) + 1].decode("utf-8", "replace")
    value = value.partition(":")[2] if field.name else value
    value = " ".join(value.split())
    return PreviewHeader(name=field.name[:200], value=defang(visible(decode_words(value)))[:MAX_VALUE])


def _text(parts: list[Part]) -> tuple[str, bool]:
    pieces: list[str] = []
    left = MAX_TEXT
    cut = False
    # An HTML part usually repeats the plain one; both are shown, because a deceiver lets them differ.
    for part in parts:
        text = decode_body(part).decode("utf-8", "replace")
        is_html = part.content_type == "text/html" or text[:500].lstrip().lower().startswith(
            ("<html", "<!doctype html")
        )
        shown = defang(visible(html_to_text(text) if is_html else text)).strip()
        if not shown:
            continue
        if is_html and len(parts) > 1:
            shown = "[HTML part as text]\n" + shown
        cut = cut or len(shown) > left or len(part.body) > MAX_ENCODED
        pieces.append(shown[:left])
        left -= len(pieces[-1])
        if left <= 0:
            break
    return "\n\n".join(pieces), cut


def _is_container(part: Part) -> bool:
    return part.content_type.startswith("multipart/") or part.content_type == "message/rfc822"


def _attachment(part: Part) -> PreviewAttachment:
    name = part.name
    if _EXTENDED.match(name):
        name = unquote(_EXTENDED.sub("", name, count=1))
    name = decode_words(name) if "=?" in name else name
    return PreviewAttachment(
        name=visible(name).replace("\n", " ")[:200], content_type=part.content_type[:150], size=_decoded_size(part)
    )


def _decoded_size(part: Part) -> int:
    if part.encoding != "base64":
        return len(part.body)
    characters = len(part.body) - part.body.count(b"\n") - part.body.count(b"\r") - part.body.count(b"=")
    return characters * 3 // 4
