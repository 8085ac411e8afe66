"""What people see of HTML, what links point to, and that nothing makes the reducer slow."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.classifier.html import reduce_html


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
