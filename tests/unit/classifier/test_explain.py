"""The clues of a score are readable and add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.classifier.explain import MAX_CLUES, per_octet, section_sums, token_clues
from filterd.classifier.features import distinct, grams
from filterd.classifier.stream import Stream


def octets(data: bytes, seed: int = 0) -> tuple[Stream, np.ndarray, float]:
    """A stream of two sections, its log-odds per octet under random parts, and the sum of the parts."""
    middle = len(data) // 2
    stream = Stream(data, (("header", 0, middle), ("text", middle, len(data))))
    _, positions = distinct(grams(data))
    parts = np.random.default_rng(seed).normal(size=len(positions))
    return stream, per_octet(len(data), positions, parts), float(parts.sum())


@given(st.binary(max_size=400), st.integers(0, 99))
def test_section_sums_add_up_to_the_score(data: bytes, seed: int) -> None:
    stream, shares, total = octets(data, seed)
    assert math.isclose(sum(clue.log_odds for clue in section_sums(stream, shares)), total, abs_tol=1e-9)


def test_all_token_figures_add_up_to_the_score() -> None:
    stream, shares, total = octets(b"subject: free pills now\nfrom: bulk@spam.example")
    clues = token_clues(stream, shares)
    assert len(clues) <= MAX_CLUES
    assert math.isclose(sum(clue.log_odds for clue in clues), total, abs_tol=1e-9)


def test_strongest_first_and_readable() -> None:
    data = b"subject: plain words VIAGRA\x00\xff and others\n\nbody"
    stream = Stream(data, (("header", 0, len(data)),))
    shares = np.zeros(len(data))
    at = data.index(b"VIAGRA")
    shares[at : at + 6] = 0.5
    shares[0] = -0.25
    clues = token_clues(stream, shares)
    assert [(clue.text, clue.log_odds) for clue in clues] == [("subject: VIAGRA?\ufffd", 3.0), ("field subject", -0.25)]


@pytest.mark.parametrize(
    ("section", "line", "at", "words"),
    [
        ("structure", b"to>subject", b"to", "order of fields: to, subject"),
        ("structure", b"type1 text/html utf-8 base64", b"text", "part of type text/html utf-8 base64"),
        ("structure", b"html a font table", b"font", "HTML element: font"),
        ("structure", b"file .exe prize.exe attachment 12 mz", b"prize", "attachment: .exe prize.exe attachment 12 mz"),
        ("structure", b"shape date-missing msgid-no-at", b"msgid", "shape: msgid-no-at"),
        ("connection", b"helo-of-author false", b"false", "HELO is of the author's domain: false"),
        ("connection", b"ip 192.0.2.7", b"ip", "client address: 192.0.2.7"),
        ("url", b"http spam.example .spam.example /x", b"spam", "link: spam.example"),
        ("text", b"cheap pills", b"pills", "text: pills"),
    ],
)
def test_facts_are_told_in_words_of_people(section: str, line: bytes, at: bytes, words: str) -> None:
    data = b"a line\n" + line + b"\nanother"
    shares = np.zeros(len(data))
    shares[data.index(at)] = 1.0
    (clue,) = token_clues(Stream(data, ((section, 0, len(data)),)), shares)
    assert (clue.text, clue.log_odds) == (words, 1.0)


def test_empty_and_blank_streams_have_no_clues() -> None:
    for data in (b"", b"   \n\n  "):
        stream, shares, _ = octets(data)
        assert token_clues(stream, shares) == ()


def test_blanks_before_the_first_token_go_with_it() -> None:
    data = b"   pills and more"
    shares = np.full(len(data), 0.5)
    clues = token_clues(Stream(data, (("text", 0, len(data)),)), shares)
    assert sum(clue.log_odds for clue in clues) == len(data) * 0.5
    assert "text: pills" in [clue.text for clue in clues]
