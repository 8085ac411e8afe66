"""Owns the tricks of HTML mail: words cut by markup, text that cannot be seen, text in places that few readers look at.

Like tests/support/evasion.py: octets in, octets out.  A message without HTML is made HTML first (`as_page`).
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable

from filterd.mail.message import Message
from tests.support.evasion import Change, is_html, per_word, replaced, rewritten, text_of, texts

_BODY = re.compile(r"<body[^>]*>", re.I)
_BODY_END = re.compile(r"</body", re.I)


def as_page(octets: bytes) -> bytes:
    """The message with its first text part as HTML, unless there is HTML."""
    message = Message(octets)
    found = texts(message)
    if not found or any(is_html(part) for part in found):
        return octets
    page = "<html><body><p>" + html.escape(text_of(message, found[0])).replace("\n", "<br>\n") + "</p></body></html>"
    return replaced(octets, found[0], page, kind="text/html")


def per_page(change: Callable[[str], str]) -> Change:
    """A transformation of each HTML part."""
    return lambda octets: rewritten(as_page(octets), lambda text, is_page: change(text) if is_page else text)


def in_page(change: Callable[[str], str]) -> Change:
    """Each word of the HTML written differently."""
    by_word = per_word(change)
    return lambda octets: by_word(as_page(octets))


def _entities(word: str) -> str:
    return "".join(f"&#{ord(letter)};" if at % 2 else f"&#x{ord(letter):04x};" for at, letter in enumerate(word))


def _cells(word: str) -> str:
    return "<table><tr>" + "".join(f"<td>{letter}</td>" for letter in word) + "</tr></table>"


CUT: dict[str, Change] = {
    "comments in words": in_page(lambda word: f"{word[:2]}<!-- harmless -->{word[2:]}"),
    "empty tags in words": in_page(lambda word: f"{word[:2]}<b></b>{word[2]}<span></span>{word[3:]}"),
    "unknown tags in words": in_page(lambda word: f"{word[:2]}<xqz>{word[2:]}"),
    "unknown closing tags in words": in_page(lambda word: f"{word[:2]}</h7x>{word[2:]}"),
    "long tag names in words": in_page(lambda word: f"{word[:2]}<qwertzuiopasdfghjkl>{word[2:]}"),
    "tags with > in an attribute": in_page(lambda word: f'{word[:2]}<b title="a>b">{word[2:]}</b>'),
    "processing instructions in words": in_page(lambda word: f"{word[:2]}<?x y?>{word[2]}<!x y>{word[3:]}"),
    "entities for letters": in_page(_entities),
    "entities without semicolon": in_page(lambda word: "".join(f"&#{ord(c)}" for c in word)),
    "zero-width entities in words": in_page(lambda word: f"{word[:2]}&#8203;{word[2:3]}&zwnj;{word[3:]}"),
    "&shy; and <wbr> in words": in_page(lambda word: f"{word[:2]}&shy;{word[2:3]}<wbr>{word[3:]}"),
    "hidden letters in words": in_page(lambda w: f'{w[:2]}<span style="display:none">qx</span>{w[2:]}'),
    "letters of size 0 in words": in_page(lambda w: f'{w[:2]}<font style="font-size:0px">zk w</font>{w[2:]}'),
    "letters in table cells": in_page(_cells),
    "letters in spans": in_page(lambda word: "".join(f"<span>{letter}</span>" for letter in word)),
    "letters in inline divs": in_page(
        lambda word: "".join(f'<div style="display:inline">{letter}</div>' for letter in word)
    ),
    "letters in floats": in_page(lambda word: "".join(f'<p style="float:left">{letter}</p>' for letter in word)),
    "words written backwards": in_page(lambda word: f'<bdo dir="rtl">{word[::-1]}</bdo>'),
}

# How text is put out of sight; {} is the text.
HIDING: dict[str, str] = {
    "display": '<div style="display:none">{}</div>',
    "display !important": '<div style="display:none !important">{}</div>',
    "visibility": "<div style='visibility:hidden'>{}</div>",
    "opacity": '<div style="opacity:0">{}</div>',
    "filter opacity": '<div style="filter:opacity(0)">{}</div>',
    "font-size 0": '<div style="font-size:0">{}</div>',
    "font-size 1px": '<div style="font-size:1px;line-height:1px">{}</div>',
    "font-size 0.05em": '<div style="font-size:.05em">{}</div>',
    "font-size calc": '<div style="font-size:calc(1px - 1px)">{}</div>',
    "font shorthand": '<div style="font:1px/1px arial">{}</div>',
    "line-height 0": '<div style="line-height:0;overflow:hidden;max-height:0">{}</div>',
    "white": '<div style="color:#ffffff">{}</div>',
    "nearly white": '<div style="color:#fefdfc">{}</div>',
    "white by name": '<div style="color:white">{}</div>',
    "white by another name": '<div style="color:ghostwhite">{}</div>',
    "white by rgb()": '<div style="color:rgb(255,255,255)">{}</div>',
    "white by rgb(%)": '<div style="color:rgb(100%,100%,100%)">{}</div>',
    "white by hsl()": '<div style="color:hsl(0,0%,100%)">{}</div>',
    "white by #rgba": '<div style="color:#ffff">{}</div>',
    "see-through colour": '<div style="color:rgba(0,0,0,0)">{}</div>',
    "font color": '<font color="#ffffff">{}</font>',
    "font color without #": "<font color=ffffff>{}</font>",
    "bgcolor": '<table bgcolor="#336699"><tr><td><font color="#336698">{}</font></td></tr></table>',
    "bgcolor by name": '<table bgcolor="navy"><tr><td><font color="#000080">{}</font></td></tr></table>',
    "background": '<div style="background-color:#222"><p style="color:#232323">{}</p></div>',
    "background after picture": '<div style="background:url(x.png) #fff;color:#fff">{}</div>',
    "class": "<style>.kq{color:#fff;background:#fff}</style><div class=kq>{}</div>",
    "class !important": '<style type="text/css">div.kq { display : none!important }</style><div class="kq">{}</div>',
    "class of two": "<style>.ab .kq{display:none}</style><div class=ab><div class=kq>{}</div></div>",
    "class in @media screen": "<style>@media screen{.kq{display:none}}</style><div class=kq>{}</div>",
    "class in @media all": "<style>@media only all and (min-width:1px){.kq{display:none}}</style><div class=kq>{}</div>",
    "class in @supports": "<style>@supports (display:block){.kq{display:none}}</style><div class=kq>{}</div>",
    "id": "<style>#kq{font-size:0}</style><div id=kq>{}</div>",
    "attribute selector": "<style>[title=kq]{display:none}</style><div title=kq>{}</div>",
    "sheet after 20 KB": "<style>" + ".a{margin:1px}\n" * 1500 + ".kq{display:none}</style><div class=kq>{}</div>",
    "sheet comment": "<style>/* { */ .kq{display/**/:/**/none}</style><div class=kq>{}</div>",
    "left": '<div style="position:absolute;left:-9999px">{}</div>',
    "top in em": '<div style="position:absolute;top:-999em">{}</div>',
    "right": '<div style="position:fixed;right:-5000px">{}</div>',
    "left +": '<div style="position:absolute;left:99999px">{}</div>',
    "margin-left": '<div style="margin-left:-9999px">{}</div>',
    "margin": '<div style="margin:0 0 0 -9999px">{}</div>',
    "transform": '<div style="transform:scale(0)">{}</div>',
    "translate": '<div style="transform:translateX(-9999px)">{}</div>',
    "clip": '<div style="position:absolute;clip:rect(0,0,0,0)">{}</div>',
    "clip-path": '<div style="clip-path:inset(100%)">{}</div>',
    "max-height": '<div style="max-height:0px;overflow:hidden">{}</div>',
    "height": '<div style="height:1px;width:1px;overflow:hidden">{}</div>',
    "overflow-y": '<div style="height:0;overflow-y:hidden">{}</div>',
    "overflow scroll": '<div style="height:0;overflow:auto">{}</div>',
    "mso-hide": '<div style="mso-hide:all">{}</div>',
    "text-indent": '<div style="text-indent:-9999px">{}</div>',
    "hidden attribute": "<div hidden>{}</div>",
    "hidden=until-found": '<div hidden="until-found">{}</div>',
    "nested": '<div style="display:none"><div style="display:block;color:#000">{}</div></div>',
    "uppercase": '<DIV STYLE="DISPLAY: NONE">{}</DIV>',
    "CSS escape": '<div style="d\\69splay:none">{}</div>',
    "CSS escape in the value": '<div style="display:n\\6f ne">{}</div>',
    "CSS comment": '<div style="display/**/:/* */none">{}</div>',
    "entity": '<div style="display&#58;no&#x6e;e">{}</div>',
    "blanks": '<div style = "display\n:\n   none">{}</div>',
    "two style attributes": '<div style="display:none" style="display:block">{}</div>',
    "later value is no value": '<div style="display:none;display:bogus">{}</div>',
    "> in an attribute": '<div title="a>b" style="display:none">{}</div>',
    "slashes between attributes": '<div/title=a/style="display:none">{}</div>',
    "template": "<template>{}</template>",
    "noembed": "<noembed>{}</noembed>",
    "title": "<title>{}</title>",
    "object": "<object style='display:none'>{}</object>",
    "textarea": '<textarea style="display:none">{}</textarea>',
    "select": "<select style='display:none'><option>{}</select>",
    "details": "<details><summary></summary>{}</details>",
    "comment": "<!-- {} -->",
    "odd comment end": "<!-- > {} --!>",
    "attribute": "<img alt='' title='{}' src=x>",
    "after </html>": "</body></html><div style='display:none'>{}</div>",
    "body colour": "</p><div style='background:#000'><div style='color:#000'>{}</div></div>",
}


def hidden(way: str, filler: str, *, first: bool = True) -> Change:
    """Innocent text put out of sight, before or behind what people see."""
    block = HIDING[way].replace("{}", html.escape(filler, quote=True).replace("'", "&#39;"))
    return placed(block, first=first)


def placed(block: str, *, first: bool) -> Change:
    """Markup put at the beginning or the end of the page."""

    def change(page: str) -> str:
        if first:
            match = _BODY.search(page)
            at = match.end() if match else 0
        else:
            match = _BODY_END.search(page)
            at = match.start() if match else len(page)
        return page[:at] + block + page[at:]

    return per_page(change)


def _data(page: str) -> str:
    return "data:text/html;charset=utf-8;base64," + base64.b64encode(page.encode()).decode()


def elsewhere(filler: str) -> dict[str, Change]:
    """The whole page in a place where few readers look, with innocent text where they do."""
    start = f"<html><body><p>{html.escape(filler)}</p>"
    return {
        "link to data:": per_page(lambda page: f'{start}<a href="{_data(page)}">open</a></body></html>'),
        "iframe with data:": per_page(lambda page: f"{start}<iframe src='{_data(page)}'></iframe></body></html>"),
        "iframe with data: in per cent": per_page(
            lambda page: f"{start}<iframe src='data:text/html,{percent(page)}'></iframe></body></html>"
        ),
        "iframe with srcdoc": per_page(
            lambda page: f'{start}<iframe srcdoc="{html.escape(page)}"></iframe></body></html>'
        ),
        "meta refresh to data:": per_page(
            lambda page: f'<html><head><meta http-equiv=refresh content="0;url={_data(page)}"></head>{start[6:]}'
        ),
        "page inside an Outlook comment": per_page(
            lambda page: f"{start}<!--[if mso]>{page}<![endif]--></body></html>"
        ),
        "every character an entity": per_page(_all_entities),
    }


def percent(page: str) -> str:
    """The page as it stands in a data: address without base64."""
    return "".join(
        char if char.isalnum() and char.isascii() else "".join(f"%{o:02X}" for o in char.encode()) for char in page
    )


def _all_entities(page: str) -> str:
    return re.sub(r">([^<]+)", lambda m: ">" + "".join(f"&#{ord(c)};" for c in html.unescape(m[1])), page)
