"""Owns the reduction of HTML to the text that people see, the text they do not see, links and tag names.

Works on octets that are already lower-case, never builds a tree, and is linear: every expression below either always
succeeds once its first characters matched, or has a small bound on each repeat (naive patterns were seen to need 28 s for
160 KB).  Must not know MIME or what is suspicious.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import NamedTuple

from filterd.content.css import BLACK, HINT, NOTHING, WHITE, Colour, Style, alike, colour_of, read_sheet, read_style

# Tags that do not separate words: removing them without a trace undoes V<b></b>iagra.
_INLINE = frozenset(
    b"a abbr acronym b bdo big cite code del em font i ins kbd label mark o:p q s samp small span strike strong sub sup tt u "
    b"var wbr".split()
)
_VOID = frozenset(b"area base br col embed hr img input link meta param source track wbr !doctype".split())
_REOPENED = frozenset(b"p li td th tr option dt dd".split())  # open again = the one before is closed (HTML 13.1.2.4)
_TAG = re.compile(rb"<(/?)([a-z!?][a-z0-9:]{0,15})([^>]*)(?:>|\Z)")
_HIDDEN = re.compile(rb"<!--|<(style|script|title|xml)(?![a-z0-9:])")
_OUTLOOK = re.compile(rb"\[if\s[^\]!]{0,60}mso[^\]]{0,60}\]>")  # Outlook shows what other programs take for a comment
_TARGET = re.compile(rb"(?:href|src|action|background)\s{0,8}=\s{0,8}[\"']?\s{0,8}([^\s\"'<>]{1,24576})")
# As long as the text that is looked at: a user name before the host may have any length (content/host.py).
_HREF = re.compile(rb"(?<![a-z-])href\s{0,8}=\s{0,8}(?:\"([^\"<>]{0,24576})|'([^'<>]{0,24576})|([^\s\"'<>]{1,24576}))")
_CLASS = re.compile(rb"(?<![a-z-])(class|id)\s{0,8}=\s{0,8}[\"']?([a-z0-9_ -]{1,200})")
_STYLE = re.compile(rb"(?<![a-z-])style\s{0,8}=\s{0,8}(?:\"([^\"<>]{0,2000})|'([^'<>]{0,2000})|([^\s\"'<>]{1,2000}))")
_COLOUR = re.compile(rb"(?<![a-z-])(bgcolor|color|text)\s{0,8}=\s{0,8}[\"']?([#a-z0-9]{1,20})")
_ATTRIBUTE_HIDDEN = re.compile(rb"\shidden(?=[\s/=>]|\Z)")

MAX_ANCHORS = 200
_MAX_OPEN = 100  # elements that are followed at a time; deeper ones look like the last of them
_MAX_SHOWN = 300  # octets of a link's text
# Octets of visible text below which hidden text counts as visible: a mail program that shows it all may be the recipient's.
_MIN_VISIBLE = 40


@dataclass(frozen=True, slots=True)
class Anchor:
    """A link as people see it: its target, and its text at most _MAX_SHOWN octets long; both UTF-8, entities decoded."""

    target: bytes
    text: bytes


@dataclass(frozen=True, slots=True)
class Reduced:
    """What is left of an HTML part.

    Attributes:
        text: visible text, entities decoded, UTF-8.
        targets: link, image and form targets in order, entities decoded.
        tags: names of opening tags in order, with repeats.
        hidden: text that is there but cannot be seen: not displayed, too small, in the colour of its background, moved away.
        anchors: links with the text that stands on them, at most MAX_ANCHORS.
    """

    text: bytes
    targets: list[bytes]
    tags: list[bytes]
    hidden: bytes = b""
    anchors: tuple[Anchor, ...] = ()


def reduce_html(data: bytes) -> Reduced:
    """What people see of `data` (lower-case, UTF-8, bounded by the caller).  Never raises."""
    shown, sheet = _without_comments(data)
    reading = _Reading(shown, read_sheet(sheet) if sheet else {})
    targets = [_unescape(target) for target in _TARGET.findall(shown)]
    visible, hidden = _unescape(b"".join(reading.visible)), _unescape(b"".join(reading.hidden))
    if hidden and len(visible.strip()) < _MIN_VISIBLE:
        visible, hidden = visible + b" " + hidden, b""
    anchors = tuple(
        Anchor(_unescape(target), _unescape(b"".join(text))[:_MAX_SHOWN]) for target, text in reading.anchors
    )
    return Reduced(visible, targets, reading.tags, hidden, anchors)


class _Reading:
    """One pass over the tags; `_open` is a stack of (tag name, what its text looks like)."""

    def __init__(self, shown: bytes, sheet: dict[bytes, Style]) -> None:
        self.visible: list[bytes] = []
        self.hidden: list[bytes] = []
        self.tags: list[bytes] = []
        self.anchors: list[tuple[bytes, list[bytes]]] = []
        self._sheet = sheet
        self._known: dict[bytes, Style] = {}  # newsletters repeat the same tag hundreds of times
        self._styled: dict[tuple[_Look, Style], _Look] = {}
        self._open: list[tuple[bytes, _Look]] = []
        self._look = _PLAIN
        self._in_anchor: list[bytes] | None = None
        self._read(shown, bool(sheet) or HINT.search(shown) is not None)

    def _read(self, shown: bytes, styled: bool) -> None:
        position = 0
        for match in _TAG.finditer(shown):
            begin = match.start()
            if begin > position:
                self._text(shown[position:begin])
            position = match.end()
            closing, name, rest = match.groups()
            if not closing and name[:1] not in b"!?":
                self.tags.append(name)
            if name not in _INLINE:
                (self.hidden if self._look.unseen else self.visible).append(b" ")
            if name == b"a":
                self._anchor(bool(closing), rest)
            if styled and name not in _VOID:
                if closing:
                    self._close(name)
                else:
                    self._enter(name, rest)
        if position < len(shown):
            self._text(shown[position:])

    def _text(self, text: bytes) -> None:
        (self.hidden if self._look.unseen else self.visible).append(text)
        if self._in_anchor is not None:
            self._in_anchor.append(text[:_MAX_SHOWN])

    def _anchor(self, closing: bool, rest: bytes) -> None:
        self._in_anchor = None
        if closing or len(self.anchors) >= MAX_ANCHORS:
            return
        match = _HREF.search(rest)
        if match is None:
            return
        self._in_anchor = []
        self.anchors.append(((match[1] or match[2] or match[3] or b"").strip(), self._in_anchor))

    def _enter(self, name: bytes, rest: bytes) -> None:
        if self._open and name in _REOPENED and self._open[-1][0] == name:
            self._open.pop()
            self._look = self._open[-1][1] if self._open else _PLAIN
        if len(self._open) >= _MAX_OPEN or rest.endswith(b"/"):
            return
        style = self._style(name, rest)
        if style is not NOTHING:
            self._look = self._looks(self._look, style)
        self._open.append((name, self._look))

    def _looks(self, look: _Look, style: Style) -> _Look:
        known = self._styled.get((look, style))
        if known is None:
            known = self._styled[look, style] = look.with_style(style)
        return known

    def _close(self, name: bytes) -> None:
        for depth in range(len(self._open) - 1, -1, -1):
            if self._open[depth][0] == name:
                del self._open[depth:]
                self._look = self._open[-1][1] if self._open else _PLAIN
                return

    def _style(self, name: bytes, rest: bytes) -> Style:
        if not rest and name not in self._sheet:
            return NOTHING
        key = name + rest
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._read_style(name, rest)
        return known

    def _read_style(self, name: bytes, rest: bytes) -> Style:
        style = self._sheet.get(name, NOTHING)
        # `in` first: most tags have none of this, and an expression costs twenty times as much
        if b"hidden" in rest and _ATTRIBUTE_HIDDEN.search(rest):
            style = Style(gone=True).over(style)
        if b"color" in rest or b"text" in rest:
            for kind, value in _COLOUR.findall(rest):
                colour = colour_of(value)
                style = (Style(background=colour) if kind == b"bgcolor" else Style(colour=colour)).over(style)
        if self._sheet and (b"class" in rest or b"id" in rest):
            for kind, value in _CLASS.findall(rest):
                for word in value.split()[:8]:
                    style = self._sheet.get((b"." if kind == b"class" else b"#") + word, NOTHING).over(style)
        match = _STYLE.search(rest) if b"style" in rest else None
        if match:
            style = read_style(_unescape(match[1] or match[2] or match[3] or b"")).over(style)
        if b"background=" in rest:
            style = Style(picture=True).over(style)
        return NOTHING if style == NOTHING else style


class _Look(NamedTuple):
    """How text at one place looks; `unseen` when nobody can see it."""

    gone: bool = False
    tiny: bool = False
    colour: Colour = BLACK
    background: Colour | None = WHITE
    unseen: bool = False

    def with_style(self, style: Style) -> _Look:
        gone = self.gone or bool(style.gone)
        tiny = self.tiny if style.tiny is None else style.tiny
        colour = style.colour or self.colour
        background = None if style.picture else style.background or self.background
        unseen = gone or tiny or (background is not None and alike(colour, background))
        return _Look(gone, tiny, colour, background, unseen)


_PLAIN = _Look()


def _without_comments(data: bytes) -> tuple[bytes, bytes]:
    """(`data` without comments, style sheets, scripts, title; the style sheets).

    What is never closed hides the rest, as in a browser.
    """
    pieces: list[bytes] = []
    sheets: list[bytes] = []
    position = 0
    while (match := _HIDDEN.search(data, position)) is not None:
        pieces.append(data[position : match.start()])
        name = match[1]
        if name is None:
            outlook = _OUTLOOK.match(data, match.end())
            if outlook is not None:
                position = outlook.end()
                continue
            # "<!-->" is a whole comment for browsers: look for its end from the two dashes on.
            end = data.find(b"-->", match.end() - 2)
            if end < 0:
                return b"".join(pieces), b"".join(sheets)
            position = end + 3
            continue
        end = data.find(b"</" + name, match.end())
        if name == b"style":
            sheets.append(data[match.end() : end if end >= 0 else len(data)].partition(b">")[2])
        if end < 0:
            return b"".join(pieces), b"".join(sheets)
        position = end
    if not pieces:
        return data, b""
    pieces.append(data[position:])
    return b"".join(pieces), b"\n".join(sheets)


def _unescape(data: bytes) -> bytes:
    if b"&" not in data:
        return data
    return html.unescape(data.decode("utf-8", "replace")).encode("utf-8", "replace")
