"""Owns what style declarations say about whether text can be seen: size, colour, display, position.  CSS 2.2.

Reads what mail programs honour and spammers use; everything else is ignored, so the answer "visible" is the default.
Works on lower-case octets.  Must not know tags or text.  Linear: each repeat is bounded or ends at one character.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
_TOO_NEAR = 24  # of 255 in every channel: #e8e8e8 on white cannot be read, the pale grey of small print (#ccc) can
_MAX_SHEET = (
    16_384  # octets of style sheets that are read: their own classes come first, most of the rest is for phones
)
_MAX_SELECTORS = 8

_DECLARATION = re.compile(
    rb"(?<![a-z-])(display|visibility|opacity|font-size|font|color|background-color|background|max-height|height|max-width|"
    rb"width|overflow|mso-hide|text-indent|left|top|position|clip|transform)\s{0,8}:\s{0,8}([^;\"'}{<>]{1,80})"
)
# What must stand in a tag or a sheet before it is worth reading.
HINT = re.compile(rb"style\s{0,8}=|class\s{0,8}=|id\s{0,8}=|color|hidden|<style")
_WORTH = re.compile(rb"display|visibility|opacity|font|color|overflow|mso-hide|indent|position|scale|background")
_NUMBER = re.compile(rb"(-?[0-9]{0,6}(?:\.[0-9]{1,6})?)\s{0,4}([a-z%]{0,4})")
_HEX = re.compile(rb"#([0-9a-f]{6}|[0-9a-f]{3})(?![0-9a-f])")
_RGB = re.compile(
    rb"rgba?\(\s{0,8}([0-9]{1,3})[\s,]{1,8}([0-9]{1,3})[\s,]{1,8}([0-9]{1,3})(?:[\s,/]{1,8}([0-9.]{1,8}))?"
)
_SELECTOR = re.compile(rb"\s*([.#]?[a-z0-9_-]{1,60})\s*")
_BRACE = re.compile(rb"[{}]")
_COMMENT = re.compile(rb"/\*.*?(?:\*/|\Z)", re.S)
_NAMED = {b"white": WHITE, b"black": BLACK, b"#fff": WHITE, b"snow": (255, 250, 250), b"ivory": (255, 255, 240)}


class Style(NamedTuple):
    """What an element's own declarations say; None leaves what the parent has.

    Attributes:
        gone: not displayed, with all that is inside.
        tiny: text of a size that nobody can read; False when a readable size is given.
        colour: of the text.
        background: behind the text; `see_through` when it is a picture.
    """

    gone: bool | None = None
    tiny: bool | None = None
    colour: Colour | None = None
    background: Colour | None = None
    picture: bool = False

    def over(self, below: Style) -> Style:
        """This style where it says something, `below` elsewhere."""
        return Style(
            below.gone if self.gone is None else self.gone,
            below.tiny if self.tiny is None else self.tiny,
            self.colour or below.colour,
            self.background or below.background,
            self.picture or below.picture,
        )


NOTHING = Style()


def alike(text: Colour, behind: Colour) -> bool:
    """Whether text of one colour cannot be read on the other."""
    return all(abs(one - other) <= _TOO_NEAR for one, other in zip(text, behind, strict=True))


def read_style(text: bytes) -> Style:
    """The style that the declarations in `text` give."""
    found = dict(_DECLARATION.findall(text))
    if not found:
        return NOTHING
    gone = _gone(found)
    size = found.get(b"font-size")
    if size is None and b"font" in found:
        size = next((word for word in found[b"font"].split() if word[:1].isdigit()), None)
    background = found.get(b"background-color") or found.get(b"background") or b""
    return Style(
        gone,
        None if size is None else _is_tiny(size),
        colour_of(found.get(b"color", b"")),
        colour_of(background),
        b"url(" in background,
    )


def _gone(found: dict[bytes, bytes]) -> bool | None:
    display = found.get(b"display", b"").strip()
    if display.startswith(b"none") or found.get(b"visibility", b"").startswith((b"hidden", b"collapse")):
        return True
    if found.get(b"mso-hide", b"").startswith(b"all") or found.get(b"color", b"").startswith(b"transparent"):
        return True
    if b"opacity" in found and 0 <= _number(found[b"opacity"], 1.0) < 0.1:
        return True
    if found.get(b"overflow", b"").startswith(b"hidden") and any(
        0 <= _number(found.get(name, b""), 99.0) <= 1 for name in (b"max-height", b"height", b"max-width", b"width")
    ):
        return True
    if _number(found.get(b"text-indent", b""), 0.0) <= -500:
        return True
    if found.get(b"position", b"").startswith((b"absolute", b"fixed")):
        if any(_number(found.get(name, b""), 0.0) <= -500 for name in (b"left", b"top")):
            return True
        if found.get(b"clip", b"").startswith((b"rect(0", b"rect(1px")):
            return True
    if b"scale(0" in found.get(b"transform", b"") and b"scale(0." not in found[b"transform"]:
        return True
    return False if display else None


def _number(value: bytes, missing: float) -> float:
    match = _NUMBER.match(value.strip())
    try:
        return float(match[1]) if match and match[1] else missing
    except ValueError:
        return missing


def _is_tiny(size: bytes) -> bool:
    match = _NUMBER.match(size.strip())
    if match is None or not match[1] or match[1] in (b"-", b"."):
        return False
    number, unit = _number(size, 99.0), match[2]
    if unit in (b"em", b"rem"):
        return number <= 0.15
    return number <= 15 if unit == b"%" else 0 <= number <= 2


def colour_of(value: bytes) -> Colour | None:
    """The colour that a value names, None when it names none that we know."""
    value = value.strip()
    if not value:
        return None
    if match := _HEX.search(value):
        digits = match[1]
        if len(digits) == 3:
            digits = bytes(octet for octet in digits for _ in range(2))
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    if match := _RGB.search(value):
        return min(int(match[1]), 255), min(int(match[2]), 255), min(int(match[3]), 255)
    return _NAMED.get(value.split(None, 1)[0])


def read_sheet(sheet: bytes) -> dict[bytes, Style]:
    """Simple selector (tag, .class, #id) -> style.  Rules inside @media and the like are for other screens and left out."""
    out: dict[bytes, Style] = {}
    text = _COMMENT.sub(b"", sheet[:_MAX_SHEET])
    selectors: list[bytes] = []
    start = depth = inside = 0  # inside: the depth at which an @ rule was opened
    for brace in _BRACE.finditer(text):
        piece = text[start : brace.start()]
        start = brace.end()
        if brace[0] == b"{":
            depth += 1
            head = piece.rpartition(b";")[2].lstrip()
            if not inside and head.startswith(b"@"):
                inside = depth
            selectors = [] if inside else _selectors(head)
            continue
        style = read_style(piece) if selectors and _WORTH.search(piece) else NOTHING
        if style != NOTHING:
            for name in selectors:
                out[name] = style.over(out.get(name, NOTHING))
        selectors = []
        inside = 0 if depth <= inside else inside
        depth = max(depth - 1, 0)
    return out


def _selectors(head: bytes) -> list[bytes]:
    names = []
    for piece in head[-400:].split(b",", _MAX_SELECTORS)[:_MAX_SELECTORS]:
        match = _SELECTOR.fullmatch(piece)
        if match:
            names.append(match[1])
    return names
