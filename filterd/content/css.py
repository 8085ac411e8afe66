"""Owns what style declarations say about whether text can be seen: size, colour, display, position.  CSS 2.2.

Reads what mail programs honour and spammers use; everything else is ignored, so the answer "visible" is the default.
Works on lower-case octets.  Must not know tags or text.  Linear: each repeat is bounded or ends at one character.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from filterd.content.colours import BLACK, WHITE, Colour, colour_of, colour_of_attribute, is_see_through

__all__ = [
    "BLACK",
    "HINT",
    "NOTHING",
    "WHITE",
    "Colour",
    "Style",
    "alike",
    "colour_of",
    "colour_of_attribute",
    "read_style",
]

_TOO_NEAR = 24  # of 255 in every channel: #e8e8e8 on white cannot be read, the pale grey of small print (#ccc) can
_MAX_DECLARATIONS = 40
# Pages repeat their styles, and so do the pages of others: so many that are so short are remembered, 0.5 MB at most.
_KNOWN_STYLES, _MAX_KNOWN = 2_000, 160
_FAR = 500  # pixels from where a page begins, to the left or above: out of sight
_FAR_ON = 5_000  # … and to the right or below

_PROPERTIES = frozenset(
    b"display visibility opacity font-size font color background-color background max-height height max-width width overflow "
    b"overflow-x overflow-y mso-hide text-indent left top right bottom position clip clip-path transform filter margin "
    b"margin-left margin-top content-visibility -webkit-text-fill-color".split()
)
_DISPLAYS = re.compile(
    rb"none|block|inline|flex|grid|table|list-item|contents|flow|run-in|ruby|inherit|initial|unset|revert"
)
# What must stand in a page before its styles are worth reading.
HINT = re.compile(rb"style\s*+=|class\s*+=|id\s*+=|color|hidden|<style|<template|<noembed|<noframes|<iframe|<datalist")
_NUMBER = re.compile(rb"(-?[0-9]{0,6}(?:\.[0-9]{1,6})?)\s{0,4}([a-z%]{0,4})")
_TERM = re.compile(rb"([-+]?)\s{0,4}([0-9]{1,6}(?:\.[0-9]{1,6})?)")
_COMMENT = re.compile(rb"/\*.*?(?:\*/|\Z)", re.S)
_ESCAPE = re.compile(rb"\\([0-9a-f]{1,6})\s?|\\([^0-9a-f\n])")


class Style(NamedTuple):
    """What an element's own declarations say; None leaves what the parent has.

    Attributes:
        gone: not displayed, with all that is inside.
        tiny: text of a size that nobody can read; False when a readable size is given.
        colour: of the text.
        background: behind the text.
        picture: a picture is behind the text, and no colour is named.
        forced: `gone` was said with !important.
    """

    gone: bool | None = None
    tiny: bool | None = None
    colour: Colour | None = None
    background: Colour | None = None
    picture: bool = False
    forced: bool = False

    def over(self, below: Style) -> Style:
        """This style where it says something, `below` elsewhere."""
        return Style(
            below.gone if self.gone is None or (below.forced and not self.forced) else self.gone,
            below.tiny if self.tiny is None else self.tiny,
            self.colour or below.colour,
            self.background or below.background,
            self.picture or below.picture,
            self.forced or below.forced,
        )


NOTHING = Style()


def alike(text: Colour, behind: Colour) -> bool:
    """Whether text of one colour cannot be read on the other."""
    return all(abs(one - other) <= _TOO_NEAR for one, other in zip(text, behind, strict=True))


def read_style(text: bytes) -> Style:
    """The style that the declarations in `text` give."""
    return _known_style(text) if len(text) <= _MAX_KNOWN else _read_style(text)


def _read_style(text: bytes) -> Style:
    found, important = _declarations(text)
    if not found:
        return NOTHING
    size = found.get(b"font-size")
    if size is None and b"font" in found:
        size = next((word for word in found[b"font"].split() if word[:1].isdigit()), None)
    background = found.get(b"background-color") or found.get(b"background") or b""
    behind = colour_of(background) if background else None
    gone = _gone(found)
    return Style(
        gone,
        None if size is None else _is_tiny(size),
        colour_of(found.get(b"-webkit-text-fill-color") or found.get(b"color", b"")),
        behind,
        behind is None and b"url(" in background,
        gone is not None and important,
    )


_known_style = lru_cache(_KNOWN_STYLES)(_read_style)


def _declarations(text: bytes) -> tuple[dict[bytes, bytes], bool]:
    """(property -> value, of each the one that counts; whether one of those that take text away is !important)."""
    if b"/*" in text:
        text = _COMMENT.sub(b"", text)
    if b"\\" in text:
        text = _ESCAPE.sub(_unescaped, text).lower()
    found: dict[bytes, bytes] = {}
    fixed: set[bytes] = set()
    for piece in text.split(b";", _MAX_DECLARATIONS)[:_MAX_DECLARATIONS]:
        name, _, value = piece.partition(b":")
        name = name.strip()
        if name not in _PROPERTIES:
            continue
        value = value.strip()[:100]
        if b"!" in value:
            value, _, _ = value.partition(b"!")
            fixed.add(name)
        elif name in fixed:
            continue
        if value and (name != b"display" or _DISPLAYS.match(value)):
            found[name] = value
    return found, not fixed.isdisjoint((b"display", b"visibility", b"mso-hide", b"opacity"))


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16) if match[1] else 0
    return match[2] if match[2] else bytes((code,)) if 32 <= code < 127 else b"?"


def _gone(found: dict[bytes, bytes]) -> bool | None:
    display = found.get(b"display", b"")
    if display.startswith(b"none") or found.get(b"visibility", b"").startswith((b"hidden", b"collapse")):
        return True
    if found.get(b"mso-hide", b"").startswith(b"all") or found.get(b"content-visibility", b"").startswith(b"hidden"):
        return True
    if is_see_through(found.get(b"-webkit-text-fill-color") or found.get(b"color", b"")):
        return True
    if b"opacity" in found and 0 <= _number(found[b"opacity"], 1.0) < 0.1:
        return True
    if found.get(b"filter", b"").startswith((b"opacity(0)", b"opacity(0%", b"opacity(0.0", b"opacity(.0")):
        return True
    if _is_cut(found) or _is_away(found):
        return True
    return False if display else None


def _is_cut(found: dict[bytes, bytes]) -> bool:
    """Whether the box is so small, or cut so, that nothing of its text is left."""
    overflow = found.get(b"overflow") or found.get(b"overflow-y") or found.get(b"overflow-x") or b"visible"
    if not overflow.startswith(b"visible") and any(
        0 <= _number(found.get(name, b""), 99.0) <= 1 for name in (b"max-height", b"height", b"max-width", b"width")
    ):
        return True
    placed = found.get(b"position", b"").startswith((b"absolute", b"fixed"))
    if placed and found.get(b"clip", b"").startswith((b"rect(0", b"rect(1px")):
        return True
    return found.get(b"clip-path", b"").startswith((b"inset(100%", b"inset(50%", b"circle(0", b"polygon(0 0)"))


def _is_away(found: dict[bytes, bytes]) -> bool:
    """Whether the box lies where no page is."""
    if _number(found.get(b"text-indent", b""), 0.0) <= -_FAR:
        return True
    if found.get(b"position", b"").startswith((b"absolute", b"fixed", b"relative")):
        if any(_number(found.get(name, b""), 0.0) <= -_FAR for name in (b"left", b"top", b"right", b"bottom")):
            return True
        if any(_number(found.get(name, b""), 0.0) >= _FAR_ON for name in (b"left", b"top")):
            return True
    margins = [found.get(b"margin-left", b""), found.get(b"margin-top", b""), *found.get(b"margin", b"").split()[:4]]
    if any(_number(value, 0.0) <= -_FAR for value in margins if value):
        return True
    transform = found.get(b"transform", b"")
    if b"scale" in transform and b"(0" in transform and b"(0." not in transform:
        return True
    if b"translate" not in transform:
        return False
    return any(_number(value, 0.0) <= -_FAR for value in transform.replace(b",", b"(").split(b"(")[1:4])


def _number(value: bytes, missing: float) -> float:
    match = _NUMBER.match(value.strip())
    try:
        return float(match[1]) if match and match[1] else missing
    except ValueError:
        return missing


def _is_tiny(size: bytes) -> bool:
    size = size.strip()
    if size.startswith((b"calc(", b"min(", b"max(", b"clamp(")):
        return _is_tiny_sum(size)
    match = _NUMBER.match(size)
    if match is None or not match[1] or match[1] in (b"-", b"."):
        return False
    number, unit = _number(size, 99.0), match[2]
    if unit in (b"em", b"rem"):
        return number <= 0.15
    return number <= 15 if unit == b"%" else 0 <= number <= 2


def _is_tiny_sum(size: bytes) -> bool:
    """The least term of min(), the sum of all others; products are not worked out, but for those with nothing."""
    terms = [float(number) * (-1 if sign == b"-" else 1) for sign, number in _TERM.findall(size[:60])]
    if not terms:
        return False
    if b"*" in size or b"/" in size:
        return 0.0 in terms and b"+" not in size
    return (min(terms) if size.startswith(b"min(") else sum(terms)) <= 2
