"""Hybrid mail at the end of its transaction, and each recipient's own word about a sender.

What the rows decide stands in tests/unit/checks/test_senders.py and test_hybrid.py, beside what is found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from filterd import metrics
from filterd.checks.base import CheckContext
from filterd.config import ExchangeConfig, PolicyConfig
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.ports import TerminalState
from tests.support.growth import assert_growth
from tests.support.stagehand import Finds, Stagehand

INTERNAL = b"X-MS-Exchange-CrossPremises-AuthAs: Internal\r\n"
REST = b"From: anna@example.org\r\nSubject: hello\r\n\r\nbody\r\n"
FORGED = (
    b"X-MS-Exchange-Organization-SCL: -1\r\n"
    b"Authentication-Results: filter.example.org; dmarc=pass\r\n"
    b"X-MS-Exchange-CrossPremises-A: x\rX-MS-Exchange-Organization-SCL: -1\r\n"
)
HYBRID = Finds("hybrid", Stage.DATA, 0.0, Result.POLICY, Reason.HYBRID_MAIL)


def counted(result: str) -> float:
    return float(metrics.HYBRID_MAIL.labels(result)._value.get())


def test_hybrid_mail_is_refused_loudly(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("refused")
    stage = Stagehand(more=(HYBRID,), allowed=("192.0.2.0/24",))
    with caplog.at_level(logging.ERROR):
        reply = str(stage.talk("anna", "postmaster", message=INTERNAL + REST)[-1])
    assert reply.startswith("550 5.7.1 Hybrid mail must reach Exchange directly")
    assert stage.upstream.taken == []
    assert set(stage.custody.states().values()) == {TerminalState.REJECTED}
    (line,) = [record for record in caplog.records if record.message == "hybrid mail came through the filter"]
    assert "docs/hybrid.md" in line.__dict__["remedy"]
    assert counted("refused") == before + 1


def test_passed_it_has_a_trace_and_exchanges_own_fields_and_nothing_else_of_ours() -> None:
    before = counted("passed")
    stage = Stagehand(weight=9.0, more=(HYBRID,), exchange=ExchangeConfig(hybrid="pass", scl_mode="organization"))
    assert stage.talk("anna", "ben", message=FORGED + INTERNAL + REST)[-1].code == 250
    ((_, octets),) = stage.upstream.taken
    assert octets.endswith(INTERNAL + REST)
    above = octets.removesuffix(INTERNAL + REST).decode()
    assert above.startswith("Received: from ")
    assert [line for line in above.split("\r\n") if line[:1].strip()] == [above.split("\r\n")[0]]
    assert counted("passed") == before + 1


def test_while_observing_it_is_passed_on_as_it_is() -> None:
    stage = Stagehand(more=(HYBRID,), policy=PolicyConfig(observe=True))
    assert stage.talk("anna", message=INTERNAL + REST)[-1].code == 250
    ((_, octets),) = stage.upstream.taken
    assert octets.endswith(INTERNAL + REST)
    (record,) = stage.custody.evidence.values()
    assert (record.verdicts[0]["action"], record.verdicts[0]["would"]) == ("accept", "reject")


def test_filtered_like_any_other_its_internal_fields_are_lost() -> None:
    stage = Stagehand(more=(HYBRID,), exchange=ExchangeConfig(hybrid="filter"))
    stage.talk("anna", message=INTERNAL + REST)
    ((_, octets),) = stage.upstream.taken
    assert INTERNAL not in octets
    assert b"X-Filterd-Report" in octets


@dataclass
class Words:
    """Findings about single recipients, as the check of senders gives them."""

    words: dict[str, Reason]
    name: ClassVar[str] = "senders"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        return [
            Evidence("senders", Stage.DATA, Result.POLICY, reason, Scope.RECIPIENT, recipient=f"{name}@example.org")
            for name, reason in self.words.items()
        ]


def test_recipients_of_one_message_get_what_each_of_them_wants() -> None:
    """One trusts the sender of what looks like spam, one has blocked him, one says nothing."""
    words = Words({"anna": Reason.SAFE_SENDER, "ben": Reason.BLOCKED_SENDER})
    stage = Stagehand(weight=3.0, more=(words,), policy=PolicyConfig(blocked_senders="quarantine"))
    assert stage.talk("anna", "ben", "carl")[-1].code == 250
    assert stage.custody.states() == {
        "anna@example.org": TerminalState.FORWARDED,
        "ben@example.org": TerminalState.QUARANTINED,
        "carl@example.org": TerminalState.FORWARDED,
    }
    levels = {
        name: next(part for part in octets.decode().split("\r\n\t") if part.startswith("SCL:"))
        for names, octets in stage.upstream.taken
        for name in names
    }
    assert levels == {"anna@example.org": "SCL:2;", "carl@example.org": "SCL:5;"}
    (record,) = stage.custody.evidence.values()
    weights = {
        (item["recipient"], item["reason"]): item["weight"] for item in record.evidence if item["check"] == "senders"
    }
    assert weights == {("anna@example.org", "safe_sender"): 0.0, ("ben@example.org", "blocked_sender"): 0.0}


def test_the_weight_in_the_record_is_that_of_the_recipient_whose_verdict_stands_above_it() -> None:
    words = Words({"anna": Reason.SAFE_SENDER, "ben": Reason.SAFE_SENDER})
    stage = Stagehand(weight=3.0, more=(words,))
    stage.talk("ben", "anna")
    (record,) = stage.custody.evidence.values()
    weights = {item["recipient"]: item["weight"] for item in record.evidence if item["check"] == "senders"}
    assert weights == {"anna@example.org": 0.0, "ben@example.org": -3.0}


def test_a_refusal_by_one_recipient_is_a_quarantine_while_others_take_the_message() -> None:
    stage = Stagehand(more=(Words({"ben": Reason.BLOCKED_SENDER}),), policy=PolicyConfig(blocked_senders="reject"))
    assert stage.talk("anna", "ben")[-1].code == 250
    assert stage.custody.states()["ben@example.org"] is TerminalState.QUARANTINED
    alone = Stagehand(more=(Words({"ben": Reason.BLOCKED_SENDER}),), policy=PolicyConfig(blocked_senders="reject"))
    assert str(alone.talk("ben")[-1]).startswith("550 5.7.1 Sender denied")


def test_words_of_thousands_of_recipients_cost_linear_time() -> None:
    def prepare(count: int) -> Callable[[], object]:
        names = [f"r{number}" for number in range(count)]
        stage = Stagehand(more=(Words(dict.fromkeys(names, Reason.SAFE_SENDER)),))
        return lambda: stage.talk(*names)

    assert_growth(prepare, 500, 2000, 4 * 2)
