"""Whose word counts: trust grows with agreement, one thing is learned once, and what is disputed waits."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from filterd.learning.trust import Finding, Standing, State, Word, findings, standings, trust

AGREEMENT = 0.5  # default of learning.agreement


def word(
    id: int,
    reporter: str,
    group: str = "g",
    ham: bool = False,
    state: State = State.COUNTING,
    trusted: bool = False,
    disputes: bool = False,
) -> Word:
    return Word(id, reporter, group, ham, state, trusted, disputes)


def proven(reporter: str, things: int, first: int = 1000) -> list[Word]:
    """This reporter was right on so many things."""
    said = [word(first + 2 * n, reporter, f"{reporter}{n}") for n in range(things)]
    return said + [word(first + 2 * n + 1, "admin", f"{reporter}{n}", trusted=True) for n in range(things)]


def learned(*words: Word) -> dict[str, bool]:
    return {finding.group: finding.ham for finding in findings(words, AGREEMENT)}


def test_a_new_reporter_alone_is_not_enough_two_are() -> None:
    assert learned(word(1, "anna")) == {}
    assert learned(word(1, "anna"), word(2, "bob")) == {"g": False}


def test_one_who_was_right_before_is_enough() -> None:
    assert learned(word(1, "anna"), *proven("anna", 1)) == {"g": False, "anna0": False}


def test_one_person_counts_once_however_often_they_say_it() -> None:
    assert learned(*(word(id, "anna") for id in range(1, 50))) == {}


def test_of_several_words_of_one_person_the_newest_counts() -> None:
    said = [word(1, "anna"), word(2, "bob", ham=True), word(3, "anna", ham=True)]
    assert learned(*said) == {"g": True}
    assert learned(*reversed(said)) == {"g": True}


def test_what_untrusted_people_dispute_waits_for_a_trusted_word() -> None:
    said = [word(1, "anna"), word(2, "bob"), word(3, "carl"), word(4, "dora", ham=True)]
    assert learned(*said) == {}
    assert learned(*said, word(5, "admin", ham=True, trusted=True)) == {"g": True}


def test_a_report_that_is_held_only_as_a_contradiction_disputes_too() -> None:
    said = [word(1, "anna"), word(2, "bob")]
    held = word(3, "carl", ham=True, state=State.HELD, disputes=True)
    assert learned(*said, held) == {}
    assert learned(*said, word(3, "carl", ham=True, state=State.HELD)) == {"g": False}, (
        "an outsider's word stops nothing"
    )


def test_of_trusted_words_the_newest_decides() -> None:
    assert learned(word(1, "ops", trusted=True), word(2, "admin", ham=True, trusted=True)) == {"g": True}


def test_held_overruled_and_withdrawn_words_are_never_learned() -> None:
    for state in (State.HELD, State.OVERRULED, State.WITHDRAWN):
        assert learned(word(1, "anna", state=state), word(2, "bob", state=state)) == {}


def test_a_finding_names_who_says_so_and_learns_from_the_trusted_report_first() -> None:
    said = [word(1, "bob"), word(2, "anna", trusted=True), word(3, "carl"), word(4, "dora", ham=True)]
    assert findings(said, AGREEMENT) == [Finding("g", False, (2, 3, 1), True, ("anna", "bob", "carl"))]


def test_trust_of_a_new_one_of_a_right_one_and_of_a_wrong_one() -> None:
    assert Standing().trust == 0.3
    assert round(trust(1, 0), 2) == 0.53
    assert round(trust(0, 1), 2) == 0.12
    assert trust(0, 2) < 0.1 < trust(0, 1)


def test_a_trusted_word_makes_right_and_wrong() -> None:
    said = [word(1, "anna"), word(2, "bob", ham=True), word(3, "admin", trusted=True)]
    found = standings(said)
    assert found["anna"] == Standing(1, 0)
    assert found["bob"] == Standing(0, 1)


def test_three_others_confirm_two_do_not() -> None:
    three = [word(id, name) for id, name in enumerate(("anna", "bob", "carl"), 1)]
    assert standings(three) == {}, "three accounts of one attacker confirm each other nothing"
    found = standings([*three, word(4, "dora")])
    assert {name: standing.agreed for name, standing in found.items()} == {"anna": 1, "bob": 1, "carl": 1, "dora": 1}
    assert standings([*three, word(4, "dora"), word(5, "eve", ham=True)]) == {}, "it is disputed"


def test_an_overruled_report_costs_trust_once_whatever_is_said_later() -> None:
    said = [word(1, "anna", state=State.OVERRULED), word(2, "anna", ham=True), word(3, "admin", ham=True, trusted=True)]
    assert standings(said)["anna"] == Standing(0, 1)


def test_a_reviewed_report_is_its_reporters_own_merit() -> None:
    assert standings([word(1, "anna", trusted=True)])["anna"] == Standing(1, 0)


def test_somebody_who_was_wrong_needs_others() -> None:
    wrong = [word(100, "bob", "old"), word(101, "admin", "old", ham=True, trusted=True)]
    assert "g" in learned(word(1, "anna"), word(2, "bob"))
    assert "g" not in learned(word(1, "anna"), word(2, "bob"), *wrong)


def wrong(reporter: str, times: int = 2) -> list[Word]:
    """An administrator has said the opposite so often."""
    things = range(500, 500 + 2 * times, 2)
    said = [(word(n, reporter, f"x{n}", ham=True), word(n + 1, "admin", f"x{n}", trusted=True)) for n in things]
    return [one for pair in said for one in pair]


def test_who_was_wrong_too_often_stops_nobody_also_not_with_what_they_said_before() -> None:
    said = [word(1, "eve", ham=True), word(2, "anna"), word(3, "bob")]
    assert "g" not in learned(*said, *wrong("eve", 1))
    assert learned(*said, *wrong("eve", 2))["g"] is False
    held = word(1, "eve", ham=True, state=State.HELD, disputes=True)
    assert learned(held, *said[1:], *wrong("eve"))["g"] is False


def test_who_was_wrong_too_often_adds_nothing_to_an_agreement() -> None:
    said = [word(1, "anna"), word(2, "eve"), word(3, "mallory")]
    told = [
        Word(w.id + 1000 * n, w.reporter, f"{n}{w.group}", w.ham, w.state, w.trusted)
        for n in (1, 2)
        for w in wrong(("eve", "mallory")[n - 1])
    ]
    assert "g" in {finding.group for finding in findings(said, 0.4)}
    assert "g" not in {finding.group for finding in findings([*said, *told], 0.4)}


def test_without_any_agreement_asked_for_a_word_that_only_disputes_teaches_nothing_yet() -> None:
    held = word(1, "anna", state=State.HELD, disputes=True)
    assert findings([held], 0.0) == []


_NAMES = st.sampled_from(["anna", "bob", "carl", "dora", "eve"])
_WORDS = st.lists(
    st.builds(
        lambda reporter, group, ham, state, trusted, disputes: (reporter, group, ham, state, trusted, disputes),
        _NAMES,
        st.sampled_from(["g", "h", "i"]),
        st.booleans(),
        st.sampled_from(list(State)),
        st.booleans(),
        st.booleans(),
    ),
    max_size=30,
).map(lambda rows: [word(id, *row) for id, row in enumerate(rows, 1)])


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_trust_lies_between_none_and_all_and_follows_what_was_found(agreed: int, disagreed: int) -> None:
    assert 0 < trust(agreed, disagreed) < 1
    assert trust(agreed + 1, disagreed) > trust(agreed, disagreed) > trust(agreed, disagreed + 1)


@given(_WORDS, st.randoms(use_true_random=False))
def test_the_order_in_which_words_are_read_is_nothing(words: list[Word], chance: random.Random) -> None:
    shuffled = list(words)
    chance.shuffle(shuffled)
    assert standings(shuffled) == standings(words)
    key = {finding.group: finding for finding in findings(words, AGREEMENT)}
    assert {finding.group: finding for finding in findings(shuffled, AGREEMENT)} == key


@given(_WORDS, _WORDS)
def test_withdrawn_words_leave_no_trace(words: list[Word], more: list[Word]) -> None:
    gone = [Word(w.id + 1000, w.reporter, w.group, w.ham, State.WITHDRAWN, w.trusted, w.disputes) for w in more]
    assert standings([*words, *gone]) == standings(words)
    assert findings([*words, *gone], AGREEMENT) == findings(words, AGREEMENT)


@given(_WORDS)
def test_one_thing_is_learned_once_and_never_from_a_word_that_does_not_count(words: list[Word]) -> None:
    by_id = {w.id: w for w in words}
    found = findings(words, AGREEMENT)
    assert len({finding.group for finding in found}) == len(found)
    for finding in found:
        for id in finding.ids:
            assert by_id[id].state is State.COUNTING
            assert (by_id[id].group, by_id[id].ham) == (finding.group, finding.ham)
