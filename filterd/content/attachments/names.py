"""Owns what a file name says: its extension as Windows would take it, and the tricks that hide it.

Must not know octets or archives, nor how names are written in header fields (content/parameters.py).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from filterd.content.attachments.families import DOCUMENTS, EXTENSIONS, HARMLESS, PAGES
from filterd.content.attachments.finding import Kind

_MAX_NAME = 260  # characters that are looked at, of the end: the extension is there, and no file system takes more
# Dots that are none: Windows keeps them, people do not see the difference.
_DOTS = str.maketrans(dict.fromkeys("\u2024\u3002\ufe52\uff0e\uff61\ua4f8\u06d4\u0701\u0702", "."))
_TURNING = frozenset("\u202e\u202d")  # overrides: no honest name has them
_EMBEDDING = frozenset("\u202b\u2067")  # right-to-left embedding and isolate: fine in a name with such letters
_BLANKS = re.compile(r"[ \u00a0\u2000-\u200a\u3000\t]{4,}\.[^.\s]{1,12}$")
_RUNS = frozenset({Kind.EXECUTABLE, Kind.SCRIPT, Kind.SHORTCUT, Kind.SYSTEM})
_CLSID = re.compile(r"\.\{[0-9a-f-]{8,40}\}$", re.I)


def extensions(name: str) -> tuple[str, ...]:
    """The last extension in lower case, and the one before it if there is one; as Windows would open the file."""
    name = re.split(r"[/\\]", name[-_MAX_NAME:].partition("\0")[0].rstrip("/\\. "))[-1]
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name).translate(_DOTS)
    if not name.isprintable():
        name = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cf"))
    name = name.partition(":")[0] if ":" in name and not name.startswith(":") else name  # file:stream
    name = name.rstrip(". ")  # Windows drops them
    pieces = [piece.strip().lower() for piece in name.split(".")]
    return tuple(reversed(pieces[-2:])) if len(pieces) > 2 else tuple(pieces[-1:]) if len(pieces) == 2 else ()


def _readings(name: str) -> Iterator[tuple[str, ...]]:
    """Every way in which a program may take the name: cut at NUL or not, with its stream or without."""
    yield extensions(name)
    if "\0" in name:
        yield extensions(name.replace("\0", ""))
    if ":" in name:
        yield extensions(name.replace(":", " "))


def look(name: str) -> Iterator[tuple[Kind, str]]:
    """(kind, detail) for everything that the name alone says.  Never raises."""
    name = name[-_MAX_NAME:]
    if not name:
        return
    seen: set[Kind] = set()
    for found in _readings(name):
        if not found:
            continue
        last, before = found[0], found[1] if len(found) > 1 else ""
        kind = EXTENSIONS.get(last)
        if kind is not None and kind not in seen:  # each reading may be another program's
            seen.add(kind)
            yield kind, f".{last}"
        if kind in _RUNS and before in HARMLESS:
            yield Kind.DISGUISED, f"double extension .{before}.{last}"
        elif last in PAGES and before in DOCUMENTS:
            yield Kind.DISGUISED, f"a web page named .{before}.{last}"
    if _CLSID.search(name[-60:]):
        yield Kind.DISGUISED, "a class id as extension"
    if turned := _turned(name):
        yield Kind.DISGUISED, turned
    if seen and _BLANKS.search(name[-300:]):
        yield Kind.DISGUISED, "blanks hide the extension"
    if "\0" in name:
        yield Kind.DISGUISED, "NUL in the name"
    if name.startswith(":") and (":..\\" in name or ":../" in name):
        yield Kind.DISGUISED, "a stream that leads out of its folder"


def _turned(name: str) -> str:
    if name.isascii():
        return ""
    marks = [c for c in name if c in _TURNING]
    if not marks and any(c in _EMBEDDING for c in name):
        letters = any(unicodedata.bidirectional(c) in ("R", "AL") for c in name)
        marks = [] if letters else [c for c in name if c in _EMBEDDING]
    return f"U+{ord(marks[0]):04X} turns the direction of the name" if marks else ""
