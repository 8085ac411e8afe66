"""The rows of the corpus ledger: said once, held, reviewed, withdrawn; and the pins that hang on them."""

from __future__ import annotations

import pytest

from filterd.config import CampaignsConfig
from filterd.errors import PermanentError
from filterd.learning.trust import State
from filterd.storage import examples, ledger, pins, reports
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.database import Database
from filterd.storage.reports import Entry, Label, Recorded
from tests.support.campaigns import sighting
from tests.support.storage import keep, message

HOUR = 3_600_000
FEATURES = b"\x01\0\0\0"


def say(
    db: Database,
    label: str = "spam",
    reporter: str = "anna@example.net",
    message_id: str | None = "M",
    at_ms: int = HOUR,
    **more: object,
) -> Recorded:
    """Write a report that is held when others say the opposite."""
    entry = Entry(message_id, Label(label), reporter, "api", FEATURES, **more)  # type: ignore[arg-type]
    return reports.record(db, entry, lambda in_hour, contradicted: ("contradiction",) if contradicted else (), at_ms)


def states(db: Database) -> dict[int, str]:
    return {report.id: report.state.value for report in reports.list_reports(db)}


def one_campaign(db: Database, *ids: str) -> None:
    SqlCampaigns(db, CampaignsConfig()).add([sighting(id, 1) for id in ids])


def learned(db: Database) -> list[tuple[int, str]]:
    return [(example.report_id, example.label.value) for example in examples.examples(db)]


def test_features_come_from_the_report_or_the_evidence_and_outlive_it(db: Database) -> None:
    record = message()
    keep(db, record)
    reports.add(db, record.id, "spam", "ops", "api", trusted=True)
    reports.add(db, None, "ham", "import", "import", b"\x02\0\0\0", trusted=True)
    ledger.expire_evidence(db, 2**60)
    assert [(e.label.value, e.features) for e in examples.examples(db)] == [("spam", FEATURES), ("ham", b"\x02\0\0\0")]


def test_without_features_nothing_is_learnt_but_the_report_stays(db: Database) -> None:
    reports.add(db, "UNKNOWN", "spam", "a", "api", note="from the old system", trusted=True)
    assert learned(db) == []
    (report,) = reports.list_reports(db)
    assert (report.message_id, report.label, report.has_features, report.note) == (
        "UNKNOWN",
        "spam",
        False,
        "from the old system",
    )


def test_the_same_said_again_is_no_new_report(db: Database) -> None:
    first = say(db)
    again = say(db, at_ms=2 * HOUR)
    assert (again.id, again.already, first.already) == (first.id, True, False)
    other = say(db, reporter="bob@example.net")
    changed = say(db, "ham")
    assert not other.already
    assert not changed.already
    assert len(reports.list_reports(db)) == 3


def test_the_same_said_of_another_message_of_the_campaign_is_no_new_report(db: Database) -> None:
    one_campaign(db, "M", "N")
    first = say(db)
    assert say(db, message_id="N").id == first.id
    assert say(db, message_id="OTHER").id != first.id


def test_a_report_that_came_before_its_message_was_counted_is_found_by_the_campaign_too(db: Database) -> None:
    first = say(db)
    one_campaign(db, "M", "N")
    assert say(db, message_id="N").id == first.id


def test_the_same_message_that_never_came_through_us_is_known_by_its_name(db: Database) -> None:
    first = say(db, message_id=None, name="<1@example.org>")
    assert say(db, message_id=None, name="<1@example.org>").id == first.id
    assert say(db, message_id=None, name="<2@example.org>").id != first.id
    nameless = say(db, message_id=None)
    assert say(db, message_id=None).id != nameless.id


def test_who_was_overruled_does_not_come_again_with_the_same(db: Database) -> None:
    first = say(db)
    reports.decide(db, first.id, False, "ops")
    again = say(db)
    assert (again.id, again.state, again.already) == (first.id, State.OVERRULED, True)


def test_a_withdrawn_report_can_be_said_again(db: Database) -> None:
    first = say(db)
    reports.unlearn(db, first.id, "anna")
    assert not say(db).already


def test_a_trusted_word_is_never_swallowed_by_an_untrusted_one(db: Database) -> None:
    first = say(db)
    trusted = say(db, trusted=True)
    assert trusted.id != first.id
    assert say(db, trusted=True).id == trusted.id


def test_the_rules_are_told_how_many_came_in_the_hour_before(db: Database) -> None:
    seen: list[int] = []

    def count(in_hour: int, _contradicted: bool) -> tuple[str, ...]:
        seen.append(in_hour)
        return ()

    for number, at in enumerate((0, 1, HOUR, HOUR + 1, 9 * HOUR)):
        entry = Entry(f"M{number}", Label.SPAM, "anna@example.net", "api", FEATURES)
        reports.record(db, entry, count, 10 * HOUR + at)
    reports.record(db, Entry("X", Label.SPAM, "bob@example.net", "api", FEATURES), count, 10 * HOUR)
    assert seen == [0, 1, 1, 1, 0, 0]


def test_what_others_who_count_say_is_a_contradiction_ones_own_change_of_mind_is_not(db: Database) -> None:
    one_campaign(db, "M", "N")
    say(db)
    assert say(db, "ham").state is State.COUNTING
    assert say(db, "spam", "bob@example.net", "N").holds == ("contradiction",)
    assert say(db, "ham", "carl@example.net", "N").state is State.COUNTING, (
        "what Anna said before is no longer her word"
    )
    assert say(db, "phish", "dora@example.net", "OTHER").state is State.COUNTING
    assert say(db, "spam", "eve@example.net", "OTHER").state is State.COUNTING, "spam and phish are one side"


def test_a_contradiction_counts_once_nobody_contradicts_it(db: Database) -> None:
    first = say(db)
    second = say(db, "ham", "bob@example.net")
    assert states(db) == {first.id: "counting", second.id: "held"}
    reports.unlearn(db, first.id, "anna")
    assert states(db) == {first.id: "withdrawn", second.id: "counting"}
    assert reports.list_reports(db, state="counting")[0].holds == ()


@pytest.mark.parametrize("way", ["reject", "remove"])
def test_it_counts_too_when_the_other_is_overruled_or_erased(db: Database, way: str) -> None:
    one_campaign(db, "M", "N")
    first = say(db)
    second = say(db, "ham", "bob@example.net", "N")
    if way == "reject":
        reports.decide(db, first.id, False, "ops")
    else:
        assert reports.remove(db, first.id)
    assert states(db)[second.id] == "counting"


def test_what_is_held_for_more_than_a_contradiction_stays_held(db: Database) -> None:
    first = say(db)
    entry = Entry("M", Label.HAM, "bob@example.net", "api", FEATURES)
    second = reports.record(db, entry, lambda _hour, _against: ("outsider", "contradiction"), HOUR)
    reports.unlearn(db, first.id, "anna")
    assert states(db)[second.id] == "held"


def test_the_review_accepts(db: Database) -> None:
    first = say(db)
    second = say(db, "ham", "bob@example.net")
    found = reports.decide(db, second.id, True, "ops")
    assert (found.state, found.trusted, found.decided_by, found.holds) == (
        State.COUNTING,
        True,
        "ops",
        ("contradiction",),
    )
    assert found.decided_ms is not None
    assert learned(db) == [(second.id, "ham")]
    assert [pin.message_id for pin in pins.of_report(db, second.id)] == ["M"]
    assert states(db)[first.id] == "counting"


def test_the_review_can_change_its_mind(db: Database) -> None:
    first = say(db, "ham")
    reports.decide(db, first.id, True, "ops")
    found = reports.decide(db, first.id, False, "ops")
    assert (found.state, found.trusted) == (State.OVERRULED, False)
    assert pins.list_pins(db) == ()
    assert learned(db) == []
    assert reports.decide(db, first.id, True, "ops").state is State.COUNTING


def test_what_cannot_be_reviewed_is_named(db: Database) -> None:
    with pytest.raises(PermanentError, match=r"^id: no report 9"):
        reports.decide(db, 9, True, "ops")
    first = say(db)
    reports.unlearn(db, first.id, "ops")
    with pytest.raises(PermanentError, match=r"^state: .*withdrawn"):
        reports.decide(db, first.id, True, "ops")


def test_a_confirmed_false_positive_is_pinned_until_its_report_goes(db: Database) -> None:
    said = say(db, "ham", "ops", trusted=True, pinned=True, header_from="<a@example.org>", subject="offer")
    (pin,) = pins.list_pins(db)
    assert (pin.report_id, pin.message_id, pin.features) == (said.id, "M", FEATURES)
    assert (pin.header_from, pin.subject, pin.created_by) == ("<a@example.org>", "offer", "ops")
    say(db, "ham", "ops", trusted=True, pinned=True)
    assert len(pins.list_pins(db)) == 1
    reports.unlearn(db, said.id, "ops")
    assert pins.list_pins(db) == ()


def test_erasing_takes_the_pin_too(db: Database) -> None:
    said = say(db, "ham", "ops", trusted=True, pinned=True)
    assert reports.remove(db, said.id)
    assert pins.list_pins(db) == ()


def test_each_message_of_a_campaign_that_was_released_is_pinned(db: Database) -> None:
    one_campaign(db, "M", "N")
    first = say(db, "ham", "ops", trusted=True, pinned=True)
    assert say(db, "ham", "ops", "N", trusted=True, pinned=True).id == first.id
    assert [pin.message_id for pin in pins.list_pins(db)] == ["M", "N"]


def test_only_a_trusted_word_pins_and_a_trusted_word_against_it_unpins(db: Database) -> None:
    say(db, "ham", pinned=True)
    assert pins.list_pins(db) == ()
    say(db, "ham", "ops", trusted=True, pinned=True)
    say(db, "spam", "bob@example.net")
    assert len(pins.list_pins(db)) == 1
    say(db, "spam", "admin", trusted=True)
    assert pins.list_pins(db) == ()


def test_withdrawing_and_erasing(db: Database) -> None:
    first = reports.add(db, "M", "spam", "ops", "api", FEATURES, trusted=True)
    second = reports.add(db, "M", "ham", "ops", "api", FEATURES, trusted=True)
    assert learned(db) == [(second, "ham")]
    assert reports.unlearn(db, second, "admin")
    assert learned(db) == [(first, "spam")]
    assert not reports.unlearn(db, second, "admin")
    withdrawn = reports.list_reports(db)[0]
    assert (withdrawn.id, withdrawn.withdrawn_by, withdrawn.state) == (second, "admin", State.WITHDRAWN)
    assert withdrawn.withdrawn_ms
    assert reports.remove(db, first)
    assert not reports.remove(db, first)
    assert learned(db) == []
    assert [report.id for report in reports.list_reports(db)] == [second]


def test_bad_reports_name_the_field(db: Database) -> None:
    with pytest.raises(PermanentError, match=r"^label: "):
        reports.add(db, None, "good", "a", "api")
    with pytest.raises(PermanentError, match=r"^features: "):
        reports.add(db, None, "ham", "a", "api", b"123")


def trusted(db: Database, label: str, reporter: str, message_id: str = "M", **more: object) -> Recorded:
    return say(db, label, reporter, message_id, trusted=True, pinned=True, **more)


def test_the_later_of_two_administrators_decides_also_when_he_said_it_before(db: Database) -> None:
    first = trusted(db, "ham", "ops")
    trusted(db, "spam", "admin")
    again = trusted(db, "ham", "ops")
    assert not again.already, "a word that decides is no repetition"
    assert learned(db) == [(again.id, "ham")]
    assert [pin.report_id for pin in pins.list_pins(db)] == [again.id]
    assert trusted(db, "ham", "ops").id == again.id != first.id


def test_without_the_word_that_unpinned_it_a_message_is_pinned_as_if_that_had_never_come(db: Database) -> None:
    pinned = trusted(db, "ham", "ops")
    wrong = trusted(db, "spam", "admin")
    assert (pins.list_pins(db), pins.of_report(db, pinned.id)) == ((), ())
    reports.unlearn(db, wrong.id, "admin")
    assert [pin.report_id for pin in pins.list_pins(db)] == [pinned.id]
    (example,) = examples.examples(db)
    assert (example.report_id, example.pinned) == (pinned.id, True)


def test_spam_of_another_message_of_a_campaign_unpins_the_one_that_is_named_later(db: Database) -> None:
    one_campaign(db, "M", "N")
    trusted(db, "ham", "ops", "N")
    trusted(db, "spam", "admin", "M")
    assert [pin.message_id for pin in pins.list_pins(db)] == ["N"], "likeness unpins nothing"
    named = trusted(db, "spam", "admin", "N")
    assert not named.already
    assert pins.list_pins(db) == ()
    assert trusted(db, "spam", "admin", "N").already


def test_a_review_does_not_undo_what_an_administrator_said_later_unseen(db: Database) -> None:
    held = say(db, "spam")
    later = trusted(db, "ham", "ops")
    with pytest.raises(PermanentError, match=rf"^state: report {later.id}, .* withdraw or reject that one first"):
        reports.decide(db, held.id, True, "admin")
    assert [pin.report_id for pin in pins.list_pins(db)] == [later.id]
    assert learned(db) == [(later.id, "ham")]
    reports.decide(db, held.id, False, "admin")
    reports.unlearn(db, later.id, "ops")
    reports.decide(db, held.id, True, "admin")
    assert learned(db) == [(held.id, "spam")]


def test_a_review_may_contradict_what_an_administrator_said_before(db: Database) -> None:
    trusted(db, "ham", "ops")
    held = say(db, "spam")
    reports.decide(db, held.id, True, "admin")
    assert learned(db) == [(held.id, "spam")]
    assert pins.list_pins(db) == ()


def test_of_those_who_count_again_the_newest_word_of_each_is_asked(db: Database) -> None:
    wrong = say(db, "spam", "eve@example.net")
    say(db, "ham", "anna@example.net")
    say(db, "spam", "bob@example.net")
    newest = say(db, "ham", "bob@example.net")
    reports.unlearn(db, wrong.id, "admin")
    assert states(db)[newest.id] == "counting"
    assert learned(db) == [(newest.id, "ham")]


def test_who_changes_their_mind_contradicts_nobody_any_longer(db: Database) -> None:
    say(db, "spam", "bob@example.net")
    held = say(db, "ham", "anna@example.net")
    assert held.state is State.HELD
    changed = say(db, "ham", "bob@example.net")
    assert states(db)[held.id] == "counting"
    assert learned(db) == [(changed.id, "ham")]


def test_an_administrator_agrees_with_whom_the_newest_one_agrees(db: Database) -> None:
    trusted(db, "spam", "ops")
    assert say(db, "spam", "anna@example.net").state is State.COUNTING
    assert say(db, "ham", "bob@example.net").state is State.HELD
    trusted(db, "ham", "admin")
    assert say(db, "spam", "carl@example.net").state is State.HELD
    assert say(db, "ham", "dora@example.net").state is State.COUNTING


def test_what_somebody_said_before_they_changed_their_mind_frees_nobody(db: Database) -> None:
    gone = say(db, "spam", "eve@example.net")
    say(db, "ham", "anna@example.net")
    say(db, "spam", "anna@example.net")
    held = say(db, "ham", "bob@example.net")
    reports.unlearn(db, gone.id, "ops")
    assert states(db)[held.id] == "held", "anna says spam now"


def test_a_clock_that_was_ahead_makes_no_burst_when_it_is_right_again(db: Database) -> None:
    asked: list[int] = []

    def judge(in_hour: int, _opponents: list[str]) -> tuple[str, ...]:
        asked.append(in_hour)
        return ()

    for number, at_ms in enumerate((9 * HOUR, 9 * HOUR, HOUR, HOUR + 1)):
        entry = Entry(f"M{number}", Label.SPAM, "anna@example.net", "api", FEATURES)
        reports.record(db, entry, judge, at_ms)
    assert asked == [0, 1, 0, 1]


def test_a_pinned_message_that_never_came_through_us_is_marked_by_its_report(db: Database) -> None:
    say(db, "ham", "ops", None, name="<1@example.org>", trusted=True, pinned=True)
    say(db, "ham", "ops", None, name="<2@example.org>", trusted=True)
    assert [example.pinned for example in examples.examples(db)] == [True, False]
