"""Owns the reading of style sheets: which of their rules hold on a screen, and for which elements.  CSS 2.2, Selectors 3.

Reads simple selectors, classes and identifiers below others, and attributes; what it cannot read it leaves out.  Works on
lower-case octets.  Must not know what a declaration means (content/css.py) or where elements stand.  Linear, and bounded.
"""

from __future__ import annotations

import re
from itertools import islice

from filterd.content.css import NOTHING, Style, read_style

_MAX_SHEET = 49_152  # octets of style sheets that are looked at …
_MAX_RULES = 400  # … and rules of those that are read: most are about phones, fonts and distances
_MAX_SELECTORS = 8
_MAX_BRACES = 6_000  # real pages have 1,500; looking at 48,000 took 40 ms
_WORTH = re.compile(
    rb"display|visibility|opacity|font|color|overflow|mso-hide|indent|position|scale|background|margin|clip|transl|filter|\\|/\*"
)
# One simple selector: a name, then classes, identifiers, an attribute; what else there may be makes it one that we cannot read.
_COMPOUND = re.compile(
    rb"(\*|[a-z][a-z0-9]{0,20})?((?:[.#][a-z0-9_-]{1,60}){0,4})(?:\[([a-z-]{1,30})(?:[~^$*|]?=[\"']?([^\"'\]]{1,60})[\"']?)?\])?"
)
_SELECTOR = re.compile(rb"\s*([.#]?[a-z0-9_-]{1,60})\s*")
_KEY = re.compile(rb"[.#][a-z0-9_-]{1,60}")
_BRACE = re.compile(rb"[{}]")
_COMMENT = re.compile(rb"/\*.*?(?:\*/|\Z)", re.S)
# Conditions of @media that hold on a computer's screen; all others are for phones, printers and the dark.
_ON_SCREEN = re.compile(
    rb"@media(?:only|screen|all|and|,|\s|\(\s{0,4}min-(?:device-)?width\s{0,4}:\s{0,4}[0-6]?[0-9]{1,2}px\s{0,4}\)){0,40}+"
)
_SUPPORTED = re.compile(rb"@supports(?!.{0,80}\bnot\b)[^{}]{1,100}")


class Sheet(dict[bytes, Style]):
    """Simple selector (tag, .class, tag.class, #id) -> style; what holds only below certain elements or by attribute apart.

    Attributes:
        below: selector -> (selectors of elements around it, style).
        attributes: (name, part of the value, style).
    """

    def __init__(self) -> None:
        super().__init__()
        self.below: dict[bytes, list[tuple[tuple[bytes, ...], Style]]] = {}
        self.attributes: list[tuple[bytes, bytes, Style]] = []

    def __bool__(self) -> bool:
        return bool(len(self) or self.below or self.attributes)

    def add(self, selector: bytes, style: Style) -> None:
        """One selector's rule; what cannot be read is left out."""
        simple = _SELECTOR.fullmatch(selector)
        if simple:
            self[simple[1]] = style.over(self.get(simple[1], NOTHING))
            return
        compounds = selector.replace(b">", b" ").replace(b"+", b" ").replace(b"~", b" ").split()[:6]
        if not compounds:
            return
        last = _COMPOUND.fullmatch(compounds[-1])
        around = tuple(key for word in compounds[:-1] for key in _keys(word) if key not in (b"*", b"html", b"body"))
        if last is None or (last[0] and not (last[1] or last[2] or last[3])):
            return
        if last[3]:
            if len(self.attributes) < 20 and not around:
                self.attributes.append((last[3], last[4] or b"", style))
            return
        marks = _KEY.findall(last[2] or b"")
        name = last[1] or b""
        if len(marks) == 1 and marks[0][:1] == b"." and name not in (b"", b"*"):
            key = name + marks[0]
        else:
            key = marks[-1] if marks else name
            around += tuple(marks[:-1])
        if around:
            self.below.setdefault(key, []).append((around, style))
        else:
            self[key] = style.over(self.get(key, NOTHING))


def _keys(word: bytes) -> list[bytes]:
    """The parts of a compound selector that can be asked for; one that nothing has when it cannot be read."""
    match = _COMPOUND.fullmatch(word)
    if match is None or match[3]:
        return [b"?"]
    return _KEY.findall(match[2] or b"") or [match[1] or b"*"]


def read_sheet(sheet: bytes) -> Sheet:
    """What a style sheet says about elements.  Rules inside of @media and the like count when they hold on a screen."""
    out = Sheet()
    text = sheet[:_MAX_SHEET]
    if b"/*" in text:
        text = _COMMENT.sub(b"", text)
    head = b""
    start = depth = inside = read = 0  # inside: the depth at which an @ rule was opened that does not hold
    for brace in islice(_BRACE.finditer(text), _MAX_BRACES):
        begin, start = start, brace.end()
        if brace[0] == b"{":
            depth += 1
            head = text[begin : brace.start()].rpartition(b";")[2].strip()
            if head.startswith(b"@"):
                if not inside and not (_ON_SCREEN.fullmatch(head) or _SUPPORTED.fullmatch(head)):
                    inside = depth
                head = b""
            continue
        if head and not inside and _WORTH.search(text, begin, brace.start()):
            style = read_style(text[begin : brace.start()])
            if style != NOTHING:
                read += 1
                for selector in head[-400:].split(b",", _MAX_SELECTORS)[:_MAX_SELECTORS]:
                    out.add(selector, style)
                if read >= _MAX_RULES:
                    break
        head = b""
        inside = 0 if depth <= inside else inside
        depth = max(depth - 1, 0)
    return out
