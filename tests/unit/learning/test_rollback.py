"""When a model goes back: many people, many campaigns, improbable; and not because of one who is angry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from filterd.learning.rollback import Signal, counted, is_heard, weigh


def said(person: str, *campaigns: str, trusted: bool = False) -> list[Signal]:
    return [Signal(f"M{campaign}", campaign, person, trusted) for campaign in campaigns]


def test_two_people_and_three_campaigns_take_a_model_back() -> None:
    signals = said("anna", "1", "2") + said("bert", "3")
    finding = weigh(signals, [], 50, 5_000)
    assert finding.goes_back
    assert finding.p == pytest.approx((50 / 5_050) ** 3)
    assert finding.messages == ("M1", "M2", "M3")
    assert finding.text.startswith("3 of 50 messages or campaigns were released or reported as not spam")


def test_one_who_is_angry_does_not() -> None:
    assert not weigh(said("anna", *map(str, range(100))), [], 50, 5_000).goes_back
    assert not weigh(said("anna", *"abc") + said("ANNA", *"def"), [], 50, 5_000).goes_back


def test_an_administrator_alone_does() -> None:
    assert weigh(said("admin", "1", "2", "3", trusted=True), [], 50, 5_000).goes_back


def test_a_campaign_counts_once_however_many_speak_of_it() -> None:
    signals = [signal for person in "abcdefgh" for signal in said(person, "1", "2")]
    assert weigh(signals, [], 50, 5_000).after == 2


def test_campaigns_of_one_person_leave_those_of_many_to_others() -> None:
    signals = said("anna", "1", "2", "3", "4") + said("bert", "1", "2")
    assert weigh(signals, [], 50, 5_000).after == 4


def test_as_many_as_before_prove_nothing() -> None:
    before = [signal for number in range(30) for signal in said(f"p{number}", f"b{number}")]
    after = [signal for number in range(6) for signal in said(f"p{number}", f"a{number}")]
    assert not weigh(after, before, 1_000, 5_000).goes_back
    assert weigh(after, before, 30, 5_000).goes_back


def test_with_nothing_to_compare_with_it_stays() -> None:
    signals = [signal for number in range(9) for signal in said(f"p{number}", f"a{number}")]
    assert weigh(signals, [], 100, 0).p == 1.0
    assert not weigh(signals, [], 100, 0).goes_back
    assert not weigh(signals, [], 0, 0).goes_back


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 2_000), st.integers(1, 2_000))
def test_the_test_is_exact(after: int, before: int, judged: int, judged_before: int) -> None:
    def of(count: int) -> list[Signal]:
        return [Signal(f"{number}", f"{number}", f"p{number}") for number in range(count)]

    p = weigh(of(after), of(before), judged, judged_before).p
    assert p == pytest.approx(binom.sf(after - 1, after + before, judged / (judged + judged_before)), rel=1e-9)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12345"), st.booleans()), max_size=30))
def test_of_one_untrusted_person_two_count_at_most(words: list[tuple[str, str, bool]]) -> None:
    signals = [Signal(f"{campaign}/{person}", campaign, person, trusted) for person, campaign, trusted in words]
    found = counted(signals)
    trusted = {signal.campaign for signal in signals if signal.trusted}
    people = {signal.person for signal in signals}
    assert trusted <= set(found) <= {signal.campaign for signal in signals}
    assert len(set(found) - trusted) <= 2 * len(people)
    assert all(message.startswith(f"{campaign}/") for campaign, message in found.items())


@pytest.mark.parametrize(
    ("state", "holds", "heard"),
    [
        ("counting", (), True),
        ("held", ("not_delivered",), True),  # groups are expanded behind us
        ("held", ("burst", "contradiction"), True),
        ("held", ("outsider",), False),
        ("held", ("burst", "own_mail"), False),
        ("held", ("unknown_message",), False),
        ("held", ("low_trust",), False),
        ("overruled", (), False),
        ("withdrawn", (), False),
    ],
)
def test_whose_word_is_heard(state: str, holds: tuple[str, ...], heard: bool) -> None:
    assert is_heard(state, holds) is heard
