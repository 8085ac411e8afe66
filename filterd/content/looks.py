"""Owns how an element looks: what its tag, its attributes and the style sheet say together, and how its text looks for that.

Works on octets that are already lower-case.  Must not know how tags are found, nor what stands inside of what.
Linear: every repeat below has a small bound.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from filterd.content.colours import BLACK, WHITE, Colour, colour_of_attribute
from filterd.content.css import NOTHING, Style, alike, read_style
from filterd.content.entities import unescape
from filterd.content.sheet import Sheet

# What browsers do not show of themselves.
_NEVER_SHOWN = {name: Style(gone=True) for name in (b"template", b"noembed", b"noframes", b"iframe", b"datalist")}
_CLASS = re.compile(rb"(?<![a-z-])(class|id)\s*+=\s*+[\"']?([a-z0-9_ -]{1,200})")
_STYLE = re.compile(rb"(?<![a-z-])style\s*+=\s*+(?:\"([^\"<>]{0,8000})|'([^'<>]{0,8000})|([^\s\"'<>]{1,2000}))")
_COLOUR = re.compile(rb"(?<![a-z-])(bgcolor|color|text)\s*+=\s*+[\"']?([#a-z0-9]{1,20})")
_ATTRIBUTE_HIDDEN = re.compile(rb"\shidden(?=[\s/=>]|\Z)")
# How often a page may ask for rules that hold only below other elements: real pages ask 1,800 times, 60 KB made for it took a second.
_MAX_ASKED = 20_000


class Look(NamedTuple):
    """How text at one place looks; `unseen` when nobody can see it."""

    gone: bool = False
    tiny: bool = False
    colour: Colour = BLACK
    background: Colour | None = WHITE
    unseen: bool = False

    def with_style(self, style: Style) -> Look:
        """How text looks in an element with this style, at a place that looks like this."""
        gone = self.gone or bool(style.gone)
        tiny = self.tiny if style.tiny is None else style.tiny
        colour = style.colour or self.colour
        background = style.background or (None if style.picture else self.background)
        unseen = gone or tiny or (background is not None and alike(colour, background))
        return Look(gone, tiny, colour, background, unseen)


PLAIN = Look()  # a page before its first tag


class Styles:
    """The styles of one page's elements; asked for them in their order."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self._contexts = {key for rules in sheet.below.values() for around, _ in rules for key in around}
        self._passed: set[bytes] = set()  # which of those were opened so far: near enough to "is around"
        self._known: dict[bytes, Style] = {}  # newsletters repeat the same tag hundreds of times
        self._asked = 0

    def of(self, name: bytes, rest: bytes) -> Style:
        """What an opening tag says about its element; NOTHING when it says nothing."""
        if not rest and name not in self._sheet and name not in _NEVER_SHOWN and not self._contexts:
            return NOTHING
        key = name + rest
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._read(name, rest)
        return known

    def _read(self, name: bytes, rest: bytes) -> Style:
        style = _NEVER_SHOWN.get(name, NOTHING)
        # `in` first: most tags have none of this, and an expression costs twenty times as much
        if b"hidden" in rest and _ATTRIBUTE_HIDDEN.search(rest):
            style = Style(gone=True)
        if b"color" in rest or b"text" in rest:
            for kind, value in _COLOUR.findall(rest):
                colour = colour_of_attribute(value)
                style = (Style(background=colour) if kind == b"bgcolor" else Style(colour=colour)).over(style)
        if b"background=" in rest and style.background is None:
            style = Style(picture=True).over(style)
        if self._sheet:
            style = self._from_sheet(name, rest).over(style)
        match = _STYLE.search(rest) if b"style" in rest else None
        if match:
            style = read_style(unescape(match[1] or match[2] or match[3] or b"")).over(style)
        return NOTHING if style == NOTHING else style

    def _from_sheet(self, name: bytes, rest: bytes) -> Style:
        keys = [name]
        if b"class" in rest or b"id" in rest:
            for kind, value in _CLASS.findall(rest):
                for word in value.split()[:8]:
                    keys += [b"." + word, name + b"." + word] if kind == b"class" else [b"#" + word]
        style = NOTHING
        for key in keys:
            style = self._sheet.get(key, NOTHING).over(style)
        new = self._contexts.intersection(keys) - self._passed if self._contexts else None
        if new:
            self._passed |= new
            self._known.clear()
        for key in keys if self._sheet.below else ():
            rules = self._sheet.below.get(key, ())
            self._asked += len(rules)
            if self._asked > _MAX_ASKED:
                break
            for around, inner in rules:
                if self._passed.issuperset(around):
                    style = inner.over(style)
        for attribute, value, found in self._sheet.attributes:
            if attribute in rest and value in rest:
                style = found.over(style)
        return style
