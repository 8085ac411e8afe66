"""What people see of HTML, what links point to, and that nothing makes the reducer slow."""

from __future__ import annotations

import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.html import Anchor, reduce_html
from tests.support.growth import assert_growth


def test_inline_tags_leave_no_gap_and_block_tags_do() -> None:
    assert reduce_html(b"<p>via<b></b>gra</p><p>now</p>").text.split() == [b"viagra", b"now"]


def test_what_a_browser_hides_is_not_text() -> None:
    reduced = reduce_html(b"a<!-- <a href=x> -->b<style>p{}</style>c<script>f('<p>')</script>d")
    assert reduced.text.replace(b" ", b"") == b"abcd"
    assert reduced.targets == []


@pytest.mark.parametrize("opening", [b"<!--", b"<style>", b"<script>"])
def test_what_is_never_closed_hides_the_rest(opening: bytes) -> None:
    assert reduce_html(b"shown" + opening + b"hidden").text == b"shown"


def test_targets_and_entities() -> None:
    reduced = reduce_html(b'<a href="http://a.example/?x=1&amp;y=2">caf&eacute;</a><img src=cid:1>')
    assert reduced.targets == [b"http://a.example/?x=1&y=2", b"cid:1"]
    assert reduced.text.strip() == "café".encode()
    assert reduced.tags == [b"a", b"img"]


def test_a_bracket_in_text_stays_text() -> None:
    assert reduce_html(b"1 < 2 and 3 > 2").text == b"1 < 2 and 3 > 2"


HIDING = [
    b'<div style="display:none">{}</div>',
    b"<div style='font-size:1px'>{}</div>",
    b'<span style="color:#ffffff">{}</span>',
    b'<td bgcolor="#000000"><font color="#000001">{}</font></td>',
    b'<div style="background:#123456"><p style="color:#123457">{}</p></div>',
    b'<div style="position:absolute;left:-9999px">{}</div>',
    b"<p hidden>{}</p>",
    b'<style>.x{display:none}</style><p class="a x">{}</p>',
    b'<div style="font-size:0"><b>{}</b></div>',
    b'<div style="&#100;isplay:none">{}</div>',
    b"<div style=display:none><div>{}</div>{}</div>",
]


@pytest.mark.parametrize("wrapping", HIDING)
def test_text_that_cannot_be_seen_is_apart(wrapping: bytes) -> None:
    page = b"<p>what people see of this page, many words</p>" + wrapping.replace(b"{}", b"innocent") + b"<p>more</p>"
    reduced = reduce_html(page)
    assert b"innocent" not in reduced.text
    assert b"innocent" in reduced.hidden
    assert reduced.text.split()[-1] == b"more"


SHOWING = [
    b'<td style="font-size:0"><span style="font-size:14px">{}</span></td>',  # how newsletters close gaps between pictures
    b'<td bgcolor="#000000"><font color="#ffffff">{}</font></td>',
    b'<td style="background:url(x.png)"><font color="#ffffff">{}</font></td>',
    b"<style>@media (max-width:1px){.x{display:none}}</style><p class=x>{}</p>",
    b'<style>.x{display:none}</style><p class="x" style="display:block">{}</p>',
    b"<p hidden>a<p>{}",  # a new paragraph closes the one before
    b'<div style="display:none">a</div></div>{}',
    b'<img style="display:none">{}',
    b"<!--[if mso]>{}<![endif]-->",  # Outlook shows it
]


@pytest.mark.parametrize("wrapping", SHOWING)
def test_what_only_looks_hidden_is_text(wrapping: bytes) -> None:
    page = b"<p>what people see of this page, many words</p>" + wrapping.replace(b"{}", b"offer")
    assert b"offer" in reduce_html(page).text


def test_a_page_that_is_hidden_as_a_whole_is_read() -> None:
    assert b"offer" in reduce_html(b"<body style='opacity:0'><p>offer of the day</p></body>").text


def test_links_carry_the_text_that_stands_on_them() -> None:
    reduced = reduce_html(
        b'<a class=b href="http://a.example/?x=1&amp;y=2">www.<b>bank</b>.example</a> <a href=b>c<img></a>'
    )
    assert reduced.anchors == (Anchor(b"http://a.example/?x=1&y=2", b"www.bank.example"), Anchor(b"b", b"c"))


@given(st.binary(max_size=300))
def test_never_raises(data: bytes) -> None:
    reduce_html(data.lower())


@given(st.text(alphabet="<>!-/ab=\"' &;style", max_size=200))
def test_never_raises_on_markup(text: str) -> None:
    reduce_html(text.encode())


@pytest.mark.parametrize(
    "piece",
    [
        b"<",
        b"<!--",
        b"<a ",
        b"<script>",
        b"<style></style>",
        b"&amp;",
        b"<a href= ",
        b"href" + b" " * 9,
        b"<b a=b ",
        b"</",
        b"<!",
        b"<div style='font-size:0'>",
        b"</div>",
        b"<a href=x>",
        b"<p hidden>",
        b"<style>.a{}",
    ],
)
def test_growth_is_linear(piece: bytes) -> None:
    def seconds(size: int) -> float:
        data = piece * (size // len(piece))
        best = 1e9
        for _ in range(3):
            begun = time.process_time()
            reduce_html(data)
            best = min(best, time.process_time() - begun)
        return best

    # eight times the octets: a quadratic step would take 64 times as long
    assert seconds(400_000) < 24 * max(seconds(50_000), 0.0005)


@pytest.mark.parametrize(
    "written",
    [b"via<xqz>gra", b"via</h7x>gra", b"via</1>gra", b"via<qwertzuiopasdfghjklyxcv>gra", b'via<b title="a>b">gra', b"via<?x y?>gra",
     b"via<!x y>gra", b"via<!-- > --!>gra", b"via&#8203;gra".replace(b"&#8203;", b""), b"<bdo dir=rtl>argaiv</bdo>"],
)  # fmt: skip
def test_markup_that_nobody_sees_cuts_no_word(written: bytes) -> None:
    assert reduce_html(b"<p>" + written + b"</p>").text.split() == [b"viagra"]


ODDLY_HIDDEN = [
    b"<div style='d\\69splay:none'>{}</div>",
    b"<div style='display/**/:none'>{}</div>",
    b"<div style='display:none;display:bogus'>{}</div>",
    b"<div style='display:none!important;display:block'>{}</div>",
    b"<div title='a>b' style='display:none'>{}</div>",
    b"<div style            =            'display:none'>{}</div>",
    b"<template>{}</template>",
    b"<font color=ffffff>{}</font>",
    b"<table bgcolor=navy><tr><td><font color=#000080>{}</font></td></tr></table>",
    b"<style>div.k{display:none}</style><div class=k>{}</div>",
    b"<style>.k{display:none!important}</style><div class=k style='display:block'>{}</div>",
    b"<style>.a .k{display:none}</style><div class=a><div class=k>{}</div></div>",
    b"<style>[title=k]{display:none}</style><div title=k>{}</div>",
    b"<style>@media screen{.k{display:none}}</style><div class=k>{}</div>",
    b"<style>@supports (display:block){.k{display:none}}</style><div class=k>{}</div>",
]


@pytest.mark.parametrize("wrapping", ODDLY_HIDDEN)
def test_odd_ways_of_hiding(wrapping: bytes) -> None:
    page = b"<p>what people see of this page, many words</p>" + wrapping.replace(b"{}", b"innocent") + b"<p>more</p>"
    reduced = reduce_html(page)
    assert b"innocent" not in reduced.text
    assert b"innocent" in reduced.hidden
    assert reduced.text.split()[-1] == b"more"


@pytest.mark.parametrize(
    "wrapping",
    [
        b"<style>.a .k{display:none}</style><div class=k>{}</div>",  # there is no .a around
        b"<style>@media print{.k{display:none}}</style><div class=k>{}</div>",
        b"<style>@media (prefers-color-scheme:dark){.k{display:none}}</style><div class=k>{}</div>",
        b"<style>@supports not (display:block){.k{display:none}}</style><div class=k>{}</div>",
        b"<style>td.k{display:none}</style><div class=k>{}</div>",
        b"<table bgcolor=navy><tr><td><font color=white>{}</font></td></tr></table>",
        b"<xml>{}</xml>",  # an element that nobody knows
        b"<p title='don''t'>{}</p>",
    ],
)
def test_what_is_not_hidden_by_rules_for_others(wrapping: bytes) -> None:
    assert b"offer" in reduce_html(b"<p>what people see of this page</p>" + wrapping.replace(b"{}", b"offer")).text


def test_a_picture_with_a_hidden_page_says_nothing() -> None:
    page = b"<a href=http://x.example><img src=offer.png></a><div style='display:none'>a page of a book</div>"
    assert reduce_html(page).text.strip() == b""


@pytest.mark.parametrize(
    "piece", [b"<a b='", b'<a b="', b"<a =", b"<bdo dir=rtl>a", b"</", b"<!", b"<style>.a .b{display:none}</style><p class=a>", b"<template>", b"a='"]
)  # fmt: skip
def test_growth_of_odd_markup_is_linear(piece: bytes) -> None:
    assert_growth(lambda size: partial(reduce_html, piece * (size // len(piece))), 8_000, 64_000, 24)


def test_growth_of_rules_below_others_is_linear() -> None:
    def page(size: int) -> bytes:
        rules = b"".join(b".a%d .b{display:none}" % number for number in range(size // 48))
        return b"<style>" + rules + b"</style>" + b"".join(b"<p class='b a%d'>x" % n for n in range(size // 36))

    assert_growth(lambda size: partial(reduce_html, page(size)), 6_000, 48_000, 12)


def test_closing_what_is_not_open_costs_the_same_at_every_depth() -> None:
    closing = b"</p>" * 10_000
    assert_growth(lambda depth: partial(reduce_html, b"<div class=a>" * depth + closing), 1, 90, 2.5)


def test_closing_an_outer_element_closes_what_is_inside() -> None:
    page = b"<div style='display:none'><b class=a><i class=a>unseen</div>seen</b></i>, and this here</div>"
    found = reduce_html(page)
    assert found.text.split() == [b"seen,", b"and", b"this", b"here"]
    assert found.hidden.split() == [b"unseen"]


def test_tags_inside_of_a_value_in_quotes_are_none() -> None:
    found = reduce_html(b"<p class=a title=\"a > <i style='display:none'> <b>\">all of this is seen by people</p>")
    assert found.text.strip() == b"all of this is seen by people"
    assert (found.hidden, found.tags) == (b"", [b"p"])


@pytest.mark.parametrize(("depth", "is_seen"), [(99, False), (100, True)])
def test_so_many_open_elements_are_followed(depth: int, is_seen: bool) -> None:
    found = reduce_html(b"people see this text <b class=a>" * depth + b"<i style='display:none'>under</i>")
    assert (b"under" in found.text) == is_seen
