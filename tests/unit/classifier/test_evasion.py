"""Tricks against the classifier: by how much each may lower the score of invented spam that the shipped model knows.

Every limit is in log-odds and the worst of the messages in evasion_mails.py, rounded up; benchmarks/evasion.md has what real spam
loses.  Two is what a message must be above to be tagged.  A limit that rises is a trick that works again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from filterd.classifier.features import features
from filterd.classifier.model import Model
from filterd.classifier.passages import judged
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.mail.message import Message
from tests.support import evasion, evasion_pages, evasion_shape
from tests.support.evasion import Change
from tests.support.evasion_pages import as_page
from tests.unit.classifier.evasion_mails import HAM, SPAM, innocent

SEED = Path(__file__).resolve().parents[3] / "models" / "seed"
FILLER = innocent(300_000)
# What the score may fall by: the first expression that is found in the trick's name counts.
LIMITS = (
    # Nothing is left of words whose ends cannot be told; their letters still say most.
    ("letters: letters spread|markup: letters in (table|inline|floats)", 2.2),
    ("letters: |markup: ", 0.9),  # read as people read them; what moves is the charset, the encoding and the tags
    ("charset: two|charset: Content-Type twice", 1.3),  # marked as unusual, which ham of old programs is as well
    ("charset: ", 0.8),
    ("hidden: details", 4.6),  # a browser hides it, Outlook and web mail do not: it counts as text that people see
    ("hidden: sheet after 20 KB", 2.7),  # 20 KB of rules, 30 KB of text, in base64: the end is not read
    ("hidden: ", 0.8),  # left out; that there is hidden text counts
    # The page was read where it is; innocent text that people see stands before it.
    ("place: every", 0.3),
    ("place: ", 3.6),
    # The strongest passage counts, less passages.ALLOWANCE (2); the rest is the other structure and what is mixed with innocent text.
    ("visible: .*(last|around)", 4.2),
    ("visible: ", 3.2),
    ("shape: 20 levels, innocent", 5.9),  # twelve of 21 text parts are read
    ("shape: innocent plain alternative", 4.6),
    ("shape: (innocent|seven|attached|boundary)", 3.9),
    ("shape: 250", 2.9),  # the first and the last parts are read
    ("shape: ", 2.3),  # only the structure is another
    # What everybody may write in a header, and that model of other people's mail believes: signatures and local learning must carry it.
    ("head: fields of a mailing list", 8.0),
    ("head: 100 innocent fields first", 6.0),
    ("head: 100 innocent fields last", 3.3),
    ("head: ", 3.4),
)
# Changes that say nothing, and what they may move a score by, in either direction; ham moves towards spam by base64 alone.
INNOCENT_LIMITS = (("alternative", 2.6), ("multipart", 1.7), ("boundary", 0.6), ("", 2.1))


@cache
def model() -> tuple[Model, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    return Model.load(SEED), np.fromfile(SEED / "weights.f32", "<f4")


def log_odds(octets: bytes) -> float:
    seed, weights = model()

    def scored(indices: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> float:
        return seed.calibrated(seed.score(indices))

    stream, allowance = judged(content_stream(Message(octets), ConnectionFacts()), weights, scored)
    return scored(features(stream)) - allowance


@cache
def before(name: str, prepare: Callable[[bytes], bytes]) -> float:
    return log_odds(prepare(SPAM[name]))


def tricks() -> dict[str, tuple[Change, Callable[[bytes], bytes]]]:
    """Name -> (the trick, what the message is compared with)."""
    found: dict[str, tuple[Change, Callable[[bytes], bytes]]] = {}
    short = FILLER[:2_000]
    for group, changes in (
        ("letters", evasion.LETTERS),
        ("charset", evasion.CHARSETS),
        ("shape", evasion_shape.shapes(short)),
        ("head", evasion_shape.heads(FILLER[5_000:8_000])),
    ):
        found |= {f"{group}: {name}": (change, bytes) for name, change in changes.items()}
    for group, changes in (("markup", evasion_pages.CUT), ("place", evasion_pages.elsewhere(short))):
        found |= {f"{group}: {name}": (change, as_page) for name, change in changes.items()}
    for way in evasion_pages.HIDING:
        for size, first in ((3_000, True), (3_000, False), (30_000, True)):
            where = f"{way}, {size // 1000} KB {'first' if first else 'last'}"
            found[f"hidden: {where}"] = evasion_pages.hidden(way, FILLER[:size], first=first), as_page
    for size in (1_000, 3_000, 10_000, 30_000, 300_000):
        found[f"visible: {size // 1000} KB first"] = evasion_shape.visible(FILLER[:size], first=True), bytes
    for size in (3_000, 30_000):
        found[f"visible: {size // 1000} KB last"] = evasion_shape.visible(FILLER[:size], first=False), bytes
        found[f"visible: {size // 1000} KB around"] = evasion_shape.around(FILLER[:size]), bytes
    return found


TRICKS = tricks()
INNOCENT = {**evasion.INNOCENT, **evasion_shape.INNOCENT_SHAPES}


@pytest.mark.parametrize("name", SPAM)
def test_the_model_knows_the_spam(name: str) -> None:
    assert log_odds(SPAM[name]) > 4


@pytest.mark.parametrize("name", HAM)
def test_the_model_knows_the_ham(name: str) -> None:
    assert log_odds(HAM[name]) < 0


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_lowers_the_score_by_no_more_than_is_stated(trick: str) -> None:
    change, prepare = TRICKS[trick]
    limit = next(limit for expression, limit in LIMITS if re.search(expression, trick))
    falls = {name: before(name, prepare) - log_odds(change(SPAM[name])) for name in SPAM}
    assert max(falls.values()) <= limit, falls


@pytest.mark.parametrize("name", INNOCENT)
def test_an_innocent_change_moves_no_score_far(name: str) -> None:
    limit = next(limit for word, limit in INNOCENT_LIMITS if word in name)
    moves = {kind: log_odds(INNOCENT[name](octets)) - log_odds(octets) for kind, octets in {**SPAM, **HAM}.items()}
    assert max(map(abs, moves.values())) <= limit, moves


@pytest.mark.parametrize("name", HAM)
def test_a_page_of_its_own_makes_no_ham_spam(name: str) -> None:
    for change in (as_page, evasion_shape.visible(FILLER[:10_000], first=False), evasion.INNOCENT["as base64"]):
        assert log_odds(change(HAM[name])) < 2


@pytest.mark.parametrize(
    "trick", ["letters: look-alikes, all letters", "markup: comments in words", "hidden: display, 3 KB first"]
)
def test_a_trick_changes_the_octets(trick: str) -> None:
    change, prepare = TRICKS[trick]
    for octets in SPAM.values():
        assert change(octets) != prepare(octets)
