"""Owns the text section of the stream: which words of a message count, and what undoes the ways of hiding them.

Look-alike letters, characters of no width and letters with blanks between them are what people still read and a filter does
not; text that cannot be seen is left out.  Long text counts by its beginning and its end.  Measured: benchmarks/accuracy.md.
Must not know headers, weights or labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from filterd.content.confusables import fold_bytes
from filterd.content.view import ContentView, TextPart

# Characters without width or ink, and marks that go upon the letter before: soft hyphen, accents apart from their letter, letter marks, Hangul and Khmer fillers, zero-width characters,
# direction marks, invisible operators, variation selectors, byte order mark, tags.  They split words that people read as one,
# and newsletters fill their preview line with them.
_INVISIBLE = re.compile(
    rb"\xc2\xad|\xcc[\x80-\xbf]|\xcd[\x80-\xaf]|\xd8\x9c|\xe1\x85[\x9f\xa0]|\xe1\x9e[\xb4\xb5]|\xe1\xa0[\x8b-\x8e]|\xe2\x80[\x8b-\x8f\xaa-\xae]|"
    rb"\xe2\x81[\xa0-\xaf]|\xe3\x85\xa4|\xef\xb8[\x80-\x8f]|\xef\xbb\xbf|\xef\xbe\xa0|\xf3\xa0[\x80-\x87][\x80-\xbf]"
)
# v i a g r a, v.i.a.g.r.a, a letter to a table cell or a line: at least four letters with the same between them.  Looked for
# before blanks are made one, so that the wider gap between words stays.
_SPREAD = re.compile(rb"(?<![a-z0-9])[a-z]([^a-z0-9\x80-\xff]{1,6})(?:[a-z]\1){2,40}[a-z](?![a-z0-9])")
# What must be there for it, in a text with every letter and digit as a and all else as blanks: six times faster to look for.
_SINGLES = re.compile(rb" a {1,6}a {1,6}a ")
_LETTERS = bytes(97 if 97 <= octet < 123 or 48 <= octet < 58 or octet >= 128 else 32 for octet in range(256))
_SAMPLES, _SAMPLE = 6, 24  # pieces of a text, octets of each, by which it is found in another
# Octets of the end of a text that is longer than its room.  1,000 of 4,000 lowers the error by a tenth on the developer
# corpus, 300 and 600 by less; what it is for is text behind a long innocent beginning.
WINDOW = 1_000
_MAX_PASSAGES, _MAX_END, _MAX_HIDDEN = 24_576, 2_000, 3_000  # octets that are judged by the piece
_ONE_PASSAGE, _SOME_HIDDEN = 600, 100


@dataclass(slots=True)
class Texts:
    """What a message says, as people read it.

    Attributes:
        texts: HTML parts first: of two alternatives they are what mail programs show.
        ends: of those that were not read whole.
        hidden: text that cannot be seen.
        invisible: how many octets of characters without width there were.
    """

    texts: list[bytes] = field(default_factory=list)
    ends: list[bytes] = field(default_factory=list)
    hidden: list[bytes] = field(default_factory=list)
    invisible: int = 0

    @property
    def size(self) -> int:
        """Octets of all texts."""
        return sum(map(len, self.texts))


def visible_texts(view: ContentView) -> Texts:
    """What the text parts say."""
    out = Texts()
    for found in sorted(view.texts, key=_not_html):
        text, lost = _readable(found.text)
        if text and not _is_said(text, out.texts):
            out.texts.append(text)
        if found.tail:
            out.ends.append(_readable(found.tail)[0])
        if found.hidden:
            out.hidden.append(found.hidden)
        out.invisible += lost
    return out


def passages(found: Texts, many_links: bool) -> tuple[bytes, ...]:
    """All that was read, with text that cannot be seen (we may be wrong about it); nothing when there is not much."""
    hidden = b" ".join(b" ".join(found.hidden)[:_MAX_HIDDEN].split())
    if found.size <= _ONE_PASSAGE and not found.ends and len(hidden) < _SOME_HIDDEN and not many_links:
        return ()
    share = _MAX_PASSAGES // max(len(found.texts), 1)
    return (
        *(text[:share].lower() for text in found.texts),
        *(end[-_MAX_END:].lower() for end in found.ends),
        hidden.lower(),
    )


def plain(raw: bytes) -> bytes:
    """`raw` (UTF-8) without characters of no width, look-alike letters as those of ASCII."""
    return raw if raw.isascii() else fold_bytes(_INVISIBLE.sub(b"", raw))


def _not_html(found: TextPart) -> bool:
    return not found.is_html


def _readable(raw: bytes) -> tuple[bytes, int]:
    lost = 0
    if not raw.isascii():
        visible = _INVISIBLE.sub(b"", raw)
        lost = len(raw) - len(visible)
        raw = fold_bytes(visible.replace(b"\xc2\xa0", b" ")).lower()
    if _SINGLES.search((b" %s " % raw).translate(_LETTERS)):
        raw = _SPREAD.sub(_joined, raw)
    return b" ".join(raw.split()), lost


def _joined(match: re.Match[bytes]) -> bytes:
    return match[0].replace(match[1], b"")


def _is_said(text: bytes, earlier: list[bytes]) -> bool:
    """Whether an earlier text says the same: the plain alternative of a page takes room and tells nothing."""
    if not earlier or len(text) < 2 * _SAMPLES * _SAMPLE:
        return False
    step = (len(text) - _SAMPLE) // (_SAMPLES - 1)
    samples = [text[at : at + _SAMPLE] for at in range(0, step * _SAMPLES, step)]
    return any(sum(sample in other for sample in samples) * 3 >= _SAMPLES * 2 for other in earlier)


def text_section(found: Texts, room: int) -> bytes:
    """At most `room` octets: the beginning of each text, none crowding out the others, and the end of what is too long."""
    texts, ends = found.texts, found.ends
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
