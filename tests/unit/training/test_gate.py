"""The gate refuses what would do harm, says which message shows it, and says when it cannot know."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.gate import Verdict, class_figures, judge
from training.judged import SHOWN, Judged
from training.streams import Stream


def ham(number: int, candidate: float = -3.0, active: float = -3.0, root: float | None = None) -> Judged:
    return Judged(f"ham-{number}", False, candidate, active, root)


def spam(number: int, candidate: float = 3.0, active: float = 3.0, root: float | None = None) -> Judged:
    return Judged(f"spam-{number}", True, candidate, active, root)


def fair(count: int = 40) -> list[Judged]:
    """A slice on which the candidate catches what the model in use missed."""
    better = [spam(number, 3.0, -1.0) for number in range(10)]
    return [ham(number) for number in range(count)] + better + [spam(number) for number in range(10, count)]


def stopped_by(**given: object) -> tuple[str, ...]:
    return judge(fair(), **given).stopped_by  # type: ignore[arg-type]


def test_a_better_candidate_passes() -> None:
    report = judge(fair(), pins=[ham(1)], regression=[ham(1), spam(1)], senders=[Stream("a.example", (ham(1),) * 3)])
    assert report.verdict is Verdict.PASSED
    assert report.stopped_by == ()
    assert (report.active.caught, report.candidate.caught) == (30, 40)
    assert report.candidate.false_positive_limits == (0.0, pytest.approx(1 - 0.025 ** (1 / 40)))


def test_the_same_model_passes_its_own_gate() -> None:
    assert judge([ham(n) for n in range(30)] + [spam(n) for n in range(30)]).verdict is Verdict.PASSED


def test_a_pinned_message_that_would_be_called_spam_again_stops_it() -> None:
    report = judge(fair(), pins=[ham(1), ham(2, 0.1, -0.1), ham(3, 5.0, 4.0)])
    assert report.verdict is Verdict.REFUSED
    (stopped,) = [criterion for criterion in report.criteria if not criterion.passed]
    assert (stopped.name, stopped.messages) == ("pins", ("ham-2",)), "what the model in use calls spam is no flip"
    assert stopped.text == "1 of 3 pinned good messages would be called spam again"


@pytest.mark.parametrize("kind", ["ham", "spam"])
def test_the_shipped_set_stops_what_forgets(kind: str) -> None:
    turned = [ham(n, 2.5, 0.5) if kind == "ham" else spam(n, 0.5, 2.5) for n in range(90, 95)]
    report = judge(fair(), regression=[ham(1), spam(1), *turned])
    assert report.stopped_by == ("regression",)
    criterion = next(c for c in report.criteria if c.name == "regression")
    assert criterion.messages == tuple(item.message for item in turned)
    assert criterion.text.startswith("of the shipped set of 7 messages 5 ")


def test_a_few_turned_ones_are_named_and_won_ones_count_for_it() -> None:
    turned = [ham(n, 2.5, 0.5) for n in range(90, 95)]
    report = judge(fair(), regression=turned[:4])
    assert report.stopped_by == ()
    assert next(c for c in report.criteria if c.name == "regression").messages == (
        "ham-90",
        "ham-91",
        "ham-92",
        "ham-93",
    )
    assert stopped_by(regression=[*turned, *(ham(n, 0.5, 2.5) for n in range(80, 83))]) == ()
    assert stopped_by(regression=[*turned, *(spam(n, 2.5, 0.5) for n in range(80, 83))]) == ("regression",), (
        "each class"
    )


@pytest.mark.parametrize("same", [ham(9, 1.1, 0.9), spam(9, 0.9, 1.1), ham(9, 6.0, 5.0), spam(9, -6.0, 0.5)])
def test_what_moves_by_a_hair_or_was_wrong_before_does_not(same: Judged) -> None:
    assert stopped_by(regression=[same] * 9) == ()


def test_small_steps_are_measured_from_the_root() -> None:
    assert stopped_by(regression=[ham(9, 1.1, 0.9, root=-2.0)] * 9) == ("regression",)
    assert stopped_by(regression=[spam(9, 0.9, 1.1, root=3.0)] * 9) == ("regression",)


def test_a_false_positive_more_stops_it() -> None:
    report = judge([*fair(), ham(77, 2.0, -2.0)])
    assert report.verdict is Verdict.REFUSED
    criterion = next(c for c in report.criteria if c.name == "false_positives")
    assert criterion.messages == ("ham-77",)
    assert criterion.text.startswith("1 of 41 good held-out messages called spam (at most 12.9%)")


def test_lost_spam_stops_it() -> None:
    lost = [spam(80 + n, -2.0, 2.0) for n in range(5)]
    report = judge([ham(n) for n in range(40)] + [spam(n) for n in range(40)] + lost)
    assert "caught" in report.stopped_by
    assert next(c for c in report.criteria if c.name == "caught").messages == tuple(item.message for item in lost)


def test_spam_that_each_catches_in_turn_is_chance() -> None:
    lost, gained = [spam(80 + n, -0.1, 0.1) for n in range(8)], [spam(90 + n, 0.1, -0.1) for n in range(5)]
    assert judge([*fair(), *lost, *gained]).stopped_by == ()


def test_a_worse_log_loss_stops_it() -> None:
    slice_ = [ham(n, -1.0, -3.0) for n in range(40)] + [spam(n) for n in range(40)]
    report = judge(slice_)
    assert report.stopped_by == ("log_loss",)
    assert next(c for c in report.criteria if c.name == "log_loss").messages[0].startswith("ham-")


def test_recent_mail_of_a_sender_and_of_a_campaign_stops_it() -> None:
    assert stopped_by(senders=[Stream("shop.example", (ham(1, 4.0),) * 5)]) == ("senders",)
    assert stopped_by(senders=[Stream("shop.example", (ham(1, -1.0, -5.0),) * 5)]) == ("senders",)
    assert stopped_by(campaigns=[Stream("C1", (spam(1, -2.0),) * 5)]) == ("campaigns",)


@pytest.mark.parametrize(
    "given",
    [
        {"pins": [ham(1, 3.0)]},
        {"regression": [ham(n, 2.5, 0.5) for n in range(5)]},
        {"senders": [Stream("shop.example", (ham(1, 4.0),) * 5)]},
        {"campaigns": [Stream("C1", (spam(1, -2.0),) * 5)]},
    ],
    ids=["pins", "regression", "senders", "campaigns"],
)
def test_each_criterion_alone_refuses(given: dict[str, object]) -> None:
    assert judge(fair(), **given).verdict is Verdict.REFUSED  # type: ignore[arg-type]


def test_too_little_is_no_answer_but_harm_is_refused_all_the_same() -> None:
    few = [ham(n) for n in range(29)] + [spam(n) for n in range(40)]
    report = judge(few)
    assert report.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "29 good and 40 spam" in report.criteria[-1].text
    assert judge(few, pins=[ham(1, 3.0, -3.0)]).verdict is Verdict.REFUSED
    assert judge([]).verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert judge(few, minimum=20).verdict is Verdict.PASSED


def test_the_report_is_short_and_json() -> None:
    many = [ham(number, 5.0, -5.0) for number in range(500)]
    streams = [Stream(f"s{number}.example", tuple(many)) for number in range(300)]
    data = judge([*fair(), *many], pins=many, regression=many, senders=streams, campaigns=[]).as_dict()
    assert len(json.dumps(data)) < 20_000
    assert all(len(criterion["messages"]) <= SHOWN for criterion in data["criteria"])
    assert [criterion["name"] for criterion in data["criteria"]] == [
        "pins",
        "regression",
        "false_positives",
        "caught",
        "log_loss",
        "senders",
        "campaigns",
        "evidence",
    ]


@given(st.lists(st.tuples(st.booleans(), st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), max_size=50))
def test_any_scores_give_a_report(scores: list[tuple[bool, float, float]]) -> None:
    items = [Judged(str(number), *row) for number, row in enumerate(scores)]
    report = judge(items, pins=items, regression=items, senders=[Stream("x", tuple(items))], minimum=1)
    assert math.isfinite(report.candidate.log_loss)
    json.dumps(report.as_dict(), allow_nan=False)


def test_log_loss_is_the_mean_negative_log_likelihood() -> None:
    figures = class_figures([ham(1, 0.0), spam(1, 0.0)], lambda item: item.candidate)
    assert figures.log_loss == pytest.approx(math.log(2))
