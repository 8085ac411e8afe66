"""Owns the reduction of HTML to the text that people see, the text they do not see, links and tag names.

Works on octets that are already lower-case, never builds a tree, and is linear: every expression below either always
succeeds once its first characters matched, or has a small bound on each repeat (naive patterns were seen to need 28 s for
160 KB).  Must not know MIME or what is suspicious.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from filterd.content.css import HINT, NOTHING, Style
from filterd.content.entities import unescape
from filterd.content.looks import PLAIN, Look, Styles
from filterd.content.sheet import Sheet, read_sheet

# Tags that separate words.  All others, and those that nobody knows, leave no trace: that undoes V<b></b>iagra.
_SEPARATING = frozenset(
    b"address article aside blockquote body br button caption center dd details dialog dir div dl dt fieldset figcaption figure "
    b"footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe img input legend li main menu nav noscript object "
    b"ol optgroup option p pre section select summary table tbody td textarea tfoot th thead title tr ul video".split()
)
_VOID = frozenset(b"area base br col embed hr img input link meta param source track wbr".split())
_REOPENED = frozenset(b"p li td th tr option dt dd".split())  # open again = the one before is closed (HTML 13.1.2.4)
_TAG = re.compile(rb"<(/?)([a-z!?][^\s/>]{0,19}|(?<=/)[^>\s][^\s/>]{0,19})([^>]*)(?:>|\Z)")
# The same with values in quotes taken as a whole, for tags in which a quote is open at the first ">".
_QUOTED_TAG = re.compile(
    rb"<(/?)([a-z!?][^\s/>]{0,19}|(?<=/)[^>\s][^\s/>]{0,19})((?:[^>=]++|=\s*+(?:\"[^\"]{0,2000}+\"|'[^']{0,2000}+')?+)*+)(?:>|\Z)"
)
_MARKS = b"!?"  # declarations and processing instructions: browsers take them for comments
_HIDDEN = re.compile(rb"<!--|<(style|script|title|xml(?=>\s{0,200}<[a-z]:))(?![a-z0-9:])")
_COMMENT_END = re.compile(rb"--!?>")
_OUTLOOK = re.compile(rb"\[if\s[^\]!]{0,60}mso[^\]]{0,60}\]>")  # Outlook shows what other programs take for a comment
_TARGET = re.compile(rb"(?:href|src|action|background)\s*+=\s*+[\"']?\s*+([^\s\"'<>]{1,24576})")
# As long as the text that is looked at: a user name before the host may have any length (content/host.py).
_HREF = re.compile(rb"(?<![a-z-])href\s*+=\s*+(?:\"([^\"<>]{0,24576})|'([^'<>]{0,24576})|([^\s\"'<>]{1,24576}))")

MAX_ANCHORS = 200
_MAX_OPEN = 100  # elements that are followed at a time; deeper ones look like the last of them
_MAX_SHOWN = 300  # octets of a link's text
# Octets of visible text below which hidden text counts as visible, unless there is a picture: a mail program that shows it all
# may be the recipient's, and we may be wrong.  With a picture it is the usual picture of an offer with a page of a book unseen.
_MIN_VISIBLE = 10


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
        seen: octets of visible text, without hidden text that counts as visible.
        ends_unseen: whether what would follow is hidden.
    """

    text: bytes
    targets: list[bytes]
    tags: list[bytes]
    hidden: bytes = b""
    anchors: tuple[Anchor, ...] = ()
    seen: int = 0
    ends_unseen: bool = False


def reduce_html(data: bytes) -> Reduced:
    """What people see of `data` (lower-case, UTF-8, bounded by the caller).  Never raises."""
    shown, sheet = _without_comments(data)
    reading = _Reading(shown, read_sheet(sheet) if sheet else Sheet())
    targets = [unescape(target) for target in _TARGET.findall(shown)]
    visible, hidden = unescape(b"".join(reading.visible)), unescape(b"".join(reading.hidden))
    seen = len(b" ".join(visible.split()))
    if hidden and seen < _MIN_VISIBLE and b"img" not in reading.tags:
        visible, hidden = visible + b" " + hidden, b""
    anchors = tuple(Anchor(unescape(target), unescape(b"".join(text))[:_MAX_SHOWN]) for target, text in reading.anchors)
    return Reduced(visible, targets, reading.tags, hidden, anchors, seen, reading.ends_unseen)


class _Reading:
    """One pass over the tags; `_open` is a stack of (tag name, what its text looks like)."""

    def __init__(self, shown: bytes, sheet: Sheet) -> None:
        self.visible: list[bytes] = []
        self.hidden: list[bytes] = []
        self.tags: list[bytes] = []
        self.anchors: list[tuple[bytes, list[bytes]]] = []
        self.ends_unseen = False
        self._turned: int | None = None
        self._styles = Styles(sheet)
        self._styled: dict[tuple[Look, Style], Look] = {}
        self._open: list[tuple[bytes, Look]] = []
        self._open_names: Counter[bytes] = Counter()  # so that what closes nothing is not looked for
        self._look = PLAIN
        self._in_anchor: list[bytes] | None = None
        self._read(shown, bool(sheet) or HINT.search(shown) is not None)

    def _read(self, shown: bytes, styled: bool) -> None:
        position = 0
        for match in _TAG.finditer(shown):
            begin = match.start()
            if begin < position:
                continue  # inside of a value in quotes
            if begin > position:
                self._text(shown[position:begin])
            closing, name, rest = match.groups()
            if rest and (rest.count(b'"') & 1 or rest.count(b"'") & 1):
                match = _QUOTED_TAG.match(shown, begin) or match
                rest = match[3]
            position = match.end()
            if name[0] in _MARKS:
                continue
            if not closing:
                self.tags.append(name)
            if name in _SEPARATING:
                (self.hidden if self._look.unseen else self.visible).append(b" ")
            if name == b"a":
                self._anchor(bool(closing), rest)
            elif name == b"bdo":
                self._turn(not closing and b"rtl" in rest)
            if styled and name not in _VOID:
                if closing:
                    self._close(name)
                else:
                    self._enter(name, rest)
        if position < len(shown):
            self._text(shown[position:])
        self.ends_unseen = self._look.unseen

    def _text(self, text: bytes) -> None:
        (self.hidden if self._look.unseen else self.visible).append(text)
        if self._in_anchor is not None:
            self._in_anchor.append(text[:_MAX_SHOWN])

    def _turn(self, backwards: bool) -> None:
        """Text that is shown from right to left is read as it is shown."""
        if self._turned is not None:
            text = b"".join(self.visible[self._turned :]).decode("utf-8", "replace")
            self.visible[self._turned :] = [text[::-1].encode("utf-8", "replace")]
        self._turned = len(self.visible) if backwards else None

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
            self._open_names[self._open.pop()[0]] -= 1
            self._look = self._open[-1][1] if self._open else PLAIN
        if len(self._open) >= _MAX_OPEN or rest.endswith(b"/"):
            return
        style = self._styles.of(name, rest)
        if style is not NOTHING:
            self._look = self._looks(self._look, style)
        self._open.append((name, self._look))
        self._open_names[name] += 1

    def _looks(self, look: Look, style: Style) -> Look:
        known = self._styled.get((look, style))
        if known is None:
            known = self._styled[look, style] = look.with_style(style)
        return known

    def _close(self, name: bytes) -> None:
        if not self._open_names[name]:
            return
        inner = b""
        while inner != name:
            inner = self._open.pop()[0]
            self._open_names[inner] -= 1
        self._look = self._open[-1][1] if self._open else PLAIN


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
            end_of = _COMMENT_END.search(data, match.end() - 2)
            if end_of is None:
                return b"".join(pieces), b"\n".join(sheets)
            position = end_of.end()
            continue
        end = data.find(b"</" + name, match.end())
        if name == b"style":
            sheets.append(data[match.end() : end if end >= 0 else len(data)].partition(b">")[2])
        if end < 0:
            return b"".join(pieces), b"\n".join(sheets)
        position = end
    if not pieces:
        return data, b""
    pieces.append(data[position:])
    return b"".join(pieces), b"\n".join(sheets)
