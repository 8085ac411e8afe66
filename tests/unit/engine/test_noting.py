"""Which ends of a transaction are counted for DMARC reports: those after which the message does not come again."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from filterd.aggregate.rows import Sighting
from filterd.engine.aggregate import DmarcNotes
from filterd.engine.transaction import Session
from filterd.errors import TemporaryError
from filterd.mail.evidence import Result, Stage
from filterd.mail.reply import Reply
from tests.support.dmarc import found
from tests.support.doubles import ScriptedUpstream
from tests.support.stagehand import Finds, Stagehand


@dataclass
class Counting(Stagehand):
    """A stage whose messages fail DMARC at example.com, p=reject, and are counted."""

    seen: list[Sighting] = field(default_factory=list)
    broken: bool = False

    def __post_init__(self) -> None:
        facts = dict(found()[2].properties)
        self.more = (Finds("dmarc", Stage.DATA, result=Result.FAIL, properties=facts),)

    async def session(self, helo: str = "client.example") -> Session:
        session = await super().session(helo)
        session.engine.dmarc_notes = DmarcNotes(self.note, "dmarc@example.org")
        return session

    def note(self, sighting: Sighting) -> None:
        if self.broken:
            raise RuntimeError("bug")
        self.seen.append(sighting)


def dispositions(stage: Counting) -> list[str]:
    return [sighting.row.disposition for sighting in stage.seen]


def test_a_message_that_was_taken_is_counted_once() -> None:
    stage = Counting()
    assert stage.talk("anna", "bob")[-1].code == 250
    assert dispositions(stage) == ["none"]


def test_a_quarantined_message_is_counted() -> None:
    stage = Counting(weight=5.0)
    assert stage.talk("anna")[-1].code == 250
    assert dispositions(stage) == ["quarantine"]


def test_a_refused_message_is_counted() -> None:
    stage = Counting()
    stage.more = (*stage.more, Finds("dnsbl", Stage.DATA, weight=20.0))
    assert stage.talk("anna")[-1].code == 550
    assert dispositions(stage) == ["reject"]


def test_a_message_that_upstream_refuses_for_good_is_counted() -> None:
    stage = Counting(upstream=ScriptedUpstream(data=Reply(554, "5.6.0", "No")))
    assert stage.talk("anna")[-1].code == 554
    assert dispositions(stage) == ["none"]


@pytest.mark.parametrize(
    "upstream",
    [
        ScriptedUpstream(error=TemporaryError("gone", "unreachable")),
        ScriptedUpstream(data=Reply(451, "4.3.0", "Later")),
    ],
)
def test_a_message_that_comes_again_is_not_counted_yet(upstream: ScriptedUpstream) -> None:
    stage = Counting(upstream=upstream)
    assert stage.talk("anna")[-1].code == 451
    assert stage.seen == []


def test_a_refusal_before_the_message_was_read_is_not_counted() -> None:
    stage = Counting()
    stage.talk("anna", refusal=Reply(552, "5.3.4", "Message too big"))
    assert stage.seen == []


def test_the_answer_is_the_same_when_counting_crashes() -> None:
    stage = Counting(broken=True)
    assert stage.talk("anna")[-1].code == 250
    assert stage.upstream.taken
    assert stage.seen == []
