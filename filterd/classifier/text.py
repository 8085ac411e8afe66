"""Owns the text section of the stream: which words of a message count, and what undoes the ways of hiding them.

Look-alike letters, characters of no width and letters with blanks between them are what people still read and a filter does
not; text that cannot be seen is left out.  Long text counts by its beginning and its end.  Measured: benchmarks/accuracy.md.
Must not know headers, weights or labels.
"""

from __future__ import annotations

import re

from filterd.content.confusables import fold_bytes
from filterd.content.view import ContentView, TextPart

# Characters without width or ink: soft hyphen, grapheme joiner, letter marks, Hangul and Khmer fillers, zero-width characters,
# direction marks, invisible operators, variation selectors, byte order mark, tags.  They split words that people read as one,
# and newsletters fill their preview line with them.
_INVISIBLE = re.compile(
    rb"\xc2\xad|\xcd\x8f|\xd8\x9c|\xe1\x85[\x9f\xa0]|\xe1\x9e[\xb4\xb5]|\xe1\xa0[\x8b-\x8e]|\xe2\x80[\x8b-\x8f\xaa-\xae]|"
    rb"\xe2\x81[\xa0-\xaf]|\xe3\x85\xa4|\xef\xb8[\x80-\x8f]|\xef\xbb\xbf|\xef\xbe\xa0|\xf3\xa0[\x80-\x87][\x80-\xbf]"
)
# v i a g r a, v.i.a.g.r.a: at least four letters with the same character between them.
_SPREAD = re.compile(rb"(?<![a-z0-9])[a-z]([ ._*|/+-])(?:[a-z]\1){2,40}[a-z](?![a-z0-9])")
# Octets of the end of a text that is longer than its room.  1,000 of 4,000 lowers the error by a tenth on the developer
# corpus, 300 and 600 by less; what it is for is text behind a long innocent beginning.
WINDOW = 1_000


def visible_texts(view: ContentView) -> tuple[list[bytes], list[bytes], int, int]:
    """(texts as people read them, their ends where they were not read whole, octets that cannot be seen, of no width).

    HTML parts come first: of two alternatives they are what mail programs show.
    """
    texts: list[bytes] = []
    ends: list[bytes] = []
    hidden = invisible = 0
    for found in sorted(view.texts, key=_not_html):
        text, lost = _readable(found.text)
        if text:
            texts.append(text)
        if found.tail:
            ends.append(_readable(found.tail)[0])
        hidden += len(found.hidden)
        invisible += lost
    return texts, ends, hidden, invisible


def plain(raw: bytes) -> bytes:
    """`raw` (UTF-8) without characters of no width, look-alike letters as those of ASCII."""
    return raw if raw.isascii() else fold_bytes(_INVISIBLE.sub(b"", raw))


def _not_html(found: TextPart) -> bool:
    return not found.is_html


def _readable(raw: bytes) -> tuple[bytes, int]:
    if raw.isascii():
        text, lost = b" ".join(raw.split()), 0
    else:
        visible = _INVISIBLE.sub(b"", raw)
        lost = len(raw) - len(visible)
        text = b" ".join(fold_bytes(visible.replace(b"\xc2\xa0", b" ")).lower().split())
    return _SPREAD.sub(_joined, text), lost


def _joined(match: re.Match[bytes]) -> bytes:
    return match[0].replace(match[1], b"")


def text_section(texts: list[bytes], ends: list[bytes], room: int) -> bytes:
    """At most `room` octets: the beginning of each text, none crowding out the others, and the end of what is too long."""
    total = sum(map(len, texts)) + len(texts)
    if total <= room and not ends:
        return b"\n".join(texts)
    window = min(WINDOW, room // 3)
    end = (ends[-1] if ends else texts[-1])[-window:] if window > 0 and texts else b""
    left = max(room - len(end) - 1, 0)
    if len(texts) > 1:
        others = sum(map(len, texts[1:])) + len(texts) - 1
        first = texts[0][: max(left // 2, left - others)]
        begin = b"\n".join([first, *texts[1:]])[:left]
    else:
        begin = b"".join(texts)[:left]
    return b"%s\n%s" % (begin, end)
