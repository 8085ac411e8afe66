"""Hostile text becomes plain text in which nothing can be followed, in linear time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.plain import defang, html_to_text, visible
from tests.support.growth import assert_growth

# What mail programs and browsers make a link of.
LIVE = re.compile(r"(?i)[a-z]://|\bwww\.[a-z]|\b(?:javascript|vbscript|data|mailto|file):")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("see https://a.example.org/x?y=1 now", "see hxxps[:]//a[.]example[.]org/x?y=1 now"),
        ("HTTP://EVIL.example", "hxxp[:]//EVIL[.]example"),
        ("www.evil.example", "www[.]evil.example"),
        ("javascript:alert(1)", "javascript[:]alert(1)"),
        ("ftp://1.2.3.4/f", "ftp[:]//1[.]2[.]3[.]4/f"),
        ("//evil.example/x", "[//]evil.example/x"),
        (r"\\evil\share", r"[//]evil\share"),
        ("search-ms:query=x", "search-ms[:]query=x"),
        ("at 10:30, cost: 5", "at 10:30, cost: 5"),
        ("a and/or b", "a and/or b"),
    ],
)
def test_links_are_defanged(text: str, safe: str) -> None:
    assert defang(text) == safe


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>Hello <b>you</b></p><p>bye</p>", "Hello you\n\nbye"),
        ("V<b></b>iagra", "Viagra"),
        ("a<script>alert(1)</script>b", "ab"),
        ("a<SCRIPT>alert(1)</sCrIpT >b", "ab"),
        ("a<style>p{}</style>b", "ab"),
        ("a<script>never closed", "a"),
        ("a<!-- x --><!-->b", "ab"),
        ("a<!-- never closed", "a"),
        ("1 < 2", "1 < 2"),
        ("&lt;b&gt;", "<b>"),
        ('<a href="https://evil.example/x">bank</a>', "bank [https://evil.example/x]"),
        ("<a href='java&#115;cript:x()'>go</a>", "go [javascript:x()]"),
        ("<a href=https://evil.example>bank", "bank [https://evil.example]"),
        ('<img src="https://pixel.example/1.gif">', "[img: https://pixel.example/1.gif]"),
        ('<form action="https://evil.example/"><input></form>', "[form: https://evil.example/]"),
        ("<svg onload=alert(1)></svg>x", "x"),
        ("<iframe srcdoc='<script>'></iframe>x", "x"),
        ("<img onerror=alert(1)>x", "x"),
        ("", ""),
        ("<", "<"),
        ("<a", ""),
    ],
)
def test_html_becomes_text(source: str, text: str) -> None:
    assert html_to_text(source) == text


def test_tricks_of_display_are_removed() -> None:
    assert visible("a\u202egpj.exe\u200b\x00\x1b[31m\ud800\r\nb\tc") == "agpj.exe[31m\nb\tc"


@given(st.text(max_size=300))
def test_no_text_stays_live(text: str) -> None:
    shown = defang(visible(text))
    assert not LIVE.search(shown)
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in "\n\t" for char in shown)


_PIECES = [
    "<a href=",
    '"',
    "'",
    "http://",
    "https:",
    "//",
    "x.example",
    "javascript:",
    "&#58;",
    "&lt;",
    "<",
    ">",
    "</a>",
]
_PIECES += [
    "<script>",
    "</script",
    "<!--",
    "-->",
    "www.",
    " ",
    "\n",
    "a",
    "\u202e",
    "<img src=",
    "data:",
    ":",
    "/",
    "\\",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join))
def test_no_html_stays_live(source: str) -> None:
    text = defang(visible(html_to_text(source)))
    assert not LIVE.search(text), text


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<a ",
        "<!--",
        "<script>",
        "<script></script",
        "<a href=",
        "<p>",
        "&",
        "&#",
        "http",
        "http:",
        "a" * 15 + ":",
        "//",
        "x ",
    ],
)
def test_time_grows_with_length_only(piece: str) -> None:
    def prepare(size: int) -> Callable[[], object]:
        source = piece * (size // len(piece))
        return lambda: defang(visible(html_to_text(source)))

    assert_growth(prepare, 50_000, 400_000, 16)
