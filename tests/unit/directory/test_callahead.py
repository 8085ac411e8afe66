"""What an answer to RCPT says about a recipient; which answers are believed, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.directory.callahead import Meaning, Memory, Remembered, meaning, nobody_at
from filterd.mail.address import parse_mailbox

KNOWN, UNKNOWN, UNCLEAR = Meaning.KNOWN, Meaning.UNKNOWN, Meaning.UNCLEAR

ANSWERS = [
    (250, "2.1.5", KNOWN),
    (250, "", KNOWN),
    (251, "2.1.5", KNOWN),
    (550, "5.1.1", UNKNOWN),  # Exchange's Recipient Filter, Postfix
    (550, "5.1.10", UNKNOWN),  # newer Exchange
    (550, "5.4.1", UNKNOWN),  # Exchange Online's directory-based edge blocking
    (550, "5.2.1", UNKNOWN),  # disabled
    (552, "5.2.2", KNOWN),  # full
    (550, "5.7.1", UNCLEAR),  # unable to relay, client was not authenticated, blocked
    (550, "5.7.64", UNCLEAR),
    (550, "5.1.7", UNCLEAR),  # the reverse-path
    (550, "5.1.8", UNCLEAR),
    (501, "5.5.4", UNCLEAR),
    (503, "5.5.2", UNCLEAR),
    (554, "5.4.6", UNCLEAR),
    (550, "5.6.7", UNCLEAR),
    (450, "4.1.1", UNCLEAR),  # Postfix: unverified address
    (451, "4.7.0", UNCLEAR),
    (452, "4.3.1", UNCLEAR),
    (452, "4.2.2", UNCLEAR),
    (421, "", UNCLEAR),
]


@pytest.mark.parametrize(("code", "enhanced", "expected"), ANSWERS)
@pytest.mark.parametrize("believable", [True, False])
def test_what_an_answer_says(code: int, enhanced: str, believable: bool, expected: Meaning) -> None:
    assert meaning(code, enhanced, believable) is expected


@pytest.mark.parametrize("code", [550, 551, 553])
def test_a_refusal_without_a_reason_is_believed_of_a_server_that_has_taken_somebody(code: int) -> None:
    for enhanced in ("", "5.1.0", "5.1.2"):  # some other status; of the whole domain
        assert meaning(code, enhanced, believable=True) is UNKNOWN
        assert meaning(code, enhanced, believable=False) is UNCLEAR
    assert meaning(554, "", believable=True) is UNCLEAR


@given(st.integers(200, 599), st.from_regex(r"([245]\.\d{1,3}\.\d{1,3})?", fullmatch=True), st.booleans())
def test_nothing_but_a_final_refusal_is_unknown(code: int, enhanced: str, believable: bool) -> None:
    if meaning(code, enhanced, believable) is UNKNOWN:
        assert code >= 500
        assert not enhanced.startswith("5.7.")
    if 200 <= code < 300:
        assert meaning(code, enhanced, believable) is KNOWN


def test_nobody_is_somebody_else_each_time_and_an_address() -> None:
    one, other = nobody_at("example.org"), nobody_at("example.org")
    assert one != other
    mailbox = parse_mailbox(one)
    assert mailbox is not None
    assert mailbox.domain == "example.org"


def test_known_is_believed_longer_than_unknown() -> None:
    memory = Memory(100, positive_seconds=1000, negative_seconds=10)
    memory.put("anna@x", True, Remembered(0, 5))
    memory.put("nobody@x", False, Remembered(0, 5))
    assert memory.fresh("anna@x", 9) == (True, Remembered(0, 5))
    assert memory.fresh("nobody@x", 9) == (False, Remembered(0, 5))
    assert memory.fresh("nobody@x", 10) is None
    assert memory.fresh("anna@x", 999) is not None
    assert memory.fresh("anna@x", 1000) is None
    assert memory.stale("anna@x") == Remembered(0, 5)
    assert memory.stale("nobody@x") is None
    assert memory.fresh("stranger@x", 0) is None


def test_the_newest_answer_counts() -> None:
    memory = Memory(100, 1000, 10)
    memory.put("anna@x", True, Remembered(0, 0))
    memory.put("anna@x", False, Remembered(1, 1))
    assert memory.fresh("anna@x", 2) == (False, Remembered(1, 1))
    assert memory.stale("anna@x") is None
    memory.put("anna@x", True, Remembered(2, 2))
    assert memory.fresh("anna@x", 3) == (True, Remembered(2, 2))
    assert len(memory) == 1


def test_a_flood_of_unknown_addresses_displaces_no_known_one() -> None:
    memory = Memory(100, 1000, 1000)
    for number in range(50):
        memory.put(f"user{number}@x", True, Remembered(0, 0))
    for number in range(10_000):
        memory.put(f"nobody{number}@x", False, Remembered(0, 0))
    assert all(memory.fresh(f"user{number}@x", 1) for number in range(50))
    assert len(memory) == 100


def test_who_was_asked_about_lately_stays() -> None:
    memory = Memory(4, 1000, 1000)
    memory.put("a@x", True, Remembered(0, 0))
    memory.put("b@x", True, Remembered(0, 0))
    assert memory.fresh("a@x", 1) is not None
    memory.put("c@x", True, Remembered(1, 1))
    assert memory.fresh("a@x", 1) is not None
    assert memory.fresh("b@x", 1) is None


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=60))
def test_its_size_is_bounded(puts: list[tuple[str, bool]]) -> None:
    memory = Memory(6, 10, 10)
    for number, (address, known) in enumerate(puts):
        memory.put(address, known, Remembered(number, number))
        assert len(memory) <= 6
        assert memory.fresh(address, number) == (known, Remembered(number, number))
