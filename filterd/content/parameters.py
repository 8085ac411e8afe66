"""Owns the parameters of MIME header fields, read as tolerantly as mail programs do.  RFC 2045 5.1, RFC 2231, RFC 2047.

Must not know what a parameter means.  Linear: each repeat in the expressions below is bounded or ends at one character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from filterd.mail.message import decode_words

_MAX_VALUE = 4_096  # octets of a field that are read: a file name is not hidden behind a long parameter
_MAX_NAME = 255  # characters of a file name: more than any file system takes

# The value runs to the next semicolon, not to the first blank: `filename=order 2024.exe` is what people see as the name.
_PARAMETER = re.compile(
    r";\s*+([a-z0-9_-]{1,40})(?:\*(\d{1,3}))?(\*)?\s*+=\s*+(?:\"((?:[^\"\\]|\\.){0,900})\"?|([^;]{0,900}))",
    re.I,
)
_ESCAPED = re.compile(r"\\(.)")
PLAIN = " plain"
AGAIN = " again"
_ONE_WORD = frozenset({"boundary", "charset", "format", "type", "delsp", "protocol", "micalg"})


def parameters(value: str) -> dict[str, str]:
    """Lower-case name -> value, the first of each; RFC 2231 pieces joined in order and decoded.

    Where both forms are given the extended one counts (RFC 2231 7), and the plain one, which some programs show, is `name` + PLAIN.
    Where a name stands twice, some programs take the last value: that one is `name` + AGAIN.
    """
    if ";" not in value:
        return {}
    out: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for match in _PARAMETER.finditer(value[:_MAX_VALUE]):
        name = match[1].lower()
        quoted = match[4]
        text = _ESCAPED.sub(r"\1", quoted) if quoted is not None else match[5].strip()
        if quoted is None and name in _ONE_WORD:
            text = text.split(None, 1)[0] if text else ""
        if match[2] is None and match[3] is None:
            if out.setdefault(name, text) != text:
                out[name + AGAIN] = text
        else:
            pieces.setdefault(name, []).append((int(match[2] or 0), match[3] is not None, text))
    for name, found in pieces.items():
        if name in out:
            out[name + PLAIN] = out[name]
        out[name] = _joined(found)
    return out


def file_names(*sources: Mapping[str, str]) -> tuple[str, ...]:
    """Every file name in Content-Disposition's and Content-Type's parameters, distinct, encoded words decoded."""
    names: dict[str, None] = {}
    for source in sources:
        for key in (first + more for first in ("filename", "name") for more in ("", PLAIN, AGAIN)):
            text = source.get(key, "")
            if not text:
                continue
            if "=?" in text:
                text = decode_words(text)
            if len(text) > _MAX_NAME:  # the end says what the file is
                text = text[: _MAX_NAME // 2] + "…" + text[-(_MAX_NAME // 2) :]
            names[text] = None
    return tuple(names)


def _joined(pieces: list[tuple[int, bool, str]]) -> str:
    pieces.sort(key=lambda piece: piece[0])
    charset = ""
    raw: list[bytes] = []
    for number, (_, encoded, text) in enumerate(pieces):
        if encoded and number == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        raw.append(unquote_to_bytes(text) if encoded else text.encode("utf-8", "replace"))
    try:
        return b"".join(raw).decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):
        return b"".join(raw).decode("latin-1")
