"""Messages that have their end are counted by campaign, in the background; whatever fails there, mail goes on unchanged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from filterd import metrics
from filterd.engine import campaigns as module
from filterd.engine.campaigns import CampaignNotes, state_of
from filterd.engine.transaction import Session
from filterd.errors import StorageError, TemporaryError
from filterd.mail.envelope import Connection, TrustClass
from filterd.mail.evidence import Stage
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import CampaignSighting, Membership, TerminalState
from tests.support.doubles import MemoryCampaigns, ScriptedUpstream
from tests.support.stagehand import Finds, Stagehand

OK = Reply(250, "2.0.0", "Message accepted")
TEXT = b"your parcel is waiting at our depot because the customs fee was not paid please confirm your address and pay "


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0)


def mail(text: bytes = TEXT) -> Message:
    return Message(b"From: A <a@example.com>\r\nSubject: Your parcel\r\n\r\n" + text * 2 + b"\r\n")


def result(name: str) -> float:
    """The counter of this process."""
    return float(metrics.CAMPAIGN_MESSAGES.labels(name)._value.get())


@dataclass
class Counting(Stagehand):
    """A stage whose messages are counted."""

    index: MemoryCampaigns = field(default_factory=MemoryCampaigns)
    notes: CampaignNotes | None = None

    async def session(self, helo: str = "client.example") -> Session:
        session = await super().session(helo)
        self.notes = self.notes or CampaignNotes(self.index)
        session.engine.campaign_notes = self.notes
        return session

    def states(self) -> list[TerminalState]:
        return [seen.state for seen in self.index.sightings]


def ended(stage: Counting, *recipients: str, refusal: Reply | None = None) -> int:
    """The code of the last reply; what was counted is written then."""
    replies = stage.talk(*recipients, message=bytes(mail().octets), refusal=refusal)
    assert stage.notes is not None
    asyncio.run(stage.notes.flush())
    return replies[-1].code


def test_a_message_that_was_taken_is_counted_once() -> None:
    stage = Counting()
    assert ended(stage, "anna", "bob") == 250
    (seen,) = stage.index.sightings
    assert (seen.state, seen.at_ms, seen.subject) == (TerminalState.FORWARDED, 1_800_000_000_000, "Your parcel")
    assert seen.header_from == "A <a@example.com>"
    assert [seen.message_id] == list(stage.custody.ended)


def test_a_quarantined_message_is_counted_as_such() -> None:
    stage = Counting(weight=5.0)
    assert ended(stage, "anna") == 250
    assert stage.states() == [TerminalState.QUARANTINED]


def test_a_refused_message_is_counted() -> None:
    stage = Counting(more=(Finds("dnsbl", Stage.DATA, weight=20.0),))
    assert ended(stage, "anna") == 550
    assert stage.states() == [TerminalState.REJECTED]


def test_a_message_that_upstream_refuses_for_good_is_counted() -> None:
    stage = Counting(upstream=ScriptedUpstream(data=Reply(554, "5.6.0", "No")))
    assert ended(stage, "anna") == 554
    assert stage.states() == [TerminalState.REJECTED]


@pytest.mark.parametrize(
    "upstream",
    [
        ScriptedUpstream(error=TemporaryError("gone", "unreachable")),
        ScriptedUpstream(data=Reply(451, "4.3.0", "Later")),
    ],
)
def test_a_message_that_comes_again_is_not_counted_yet(upstream: ScriptedUpstream) -> None:
    stage = Counting(upstream=upstream)
    assert ended(stage, "anna") == 451
    assert stage.states() == []


def test_a_refusal_before_the_message_was_read_is_not_counted() -> None:
    stage = Counting()
    ended(stage, "anna", refusal=Reply(552, "5.3.4", "Message too big"))
    assert stage.states() == []


def test_without_an_index_nothing_is_counted() -> None:
    assert Stagehand().talk("anna")[-1].code == 250


def test_the_answer_is_the_same_when_the_fingerprint_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Message) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(module, "fingerprint", broken)
    lost = result("lost")
    stage = Counting()
    assert ended(stage, "anna") == 250
    assert stage.upstream.taken
    assert (stage.states(), result("lost") - lost) == ([], 1)


@pytest.mark.parametrize("error", [StorageError("disk", "broken"), RuntimeError("bug")])
def test_the_answer_is_the_same_when_the_index_fails(error: Exception) -> None:
    lost = result("lost")
    stage = Counting(index=MemoryCampaigns(error))
    assert ended(stage, "anna") == 250
    assert stage.upstream.taken
    assert list(stage.custody.states().values()) == [TerminalState.FORWARDED]
    assert result("lost") - lost == 1


def test_what_says_too_little_is_not_counted() -> None:
    stage = Counting()
    assert stage.talk("anna")[-1].code == 250
    assert stage.notes is not None
    asyncio.run(stage.notes.flush())
    assert stage.states() == []


def test_state_of() -> None:
    assert state_of(OK, []) is TerminalState.FORWARDED
    assert state_of(Reply(421, "4.3.2", "Later"), []) is None
    assert state_of(Reply(550, "5.7.1", "No"), []) is TerminalState.REJECTED


# ------------------------------------------------------------ the queue


@dataclass
class Index:
    """Notes batches; fails with `errors` first; waits while `gate` is closed."""

    batches: list[list[str]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    written: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def add(self, sightings: Sequence[CampaignSighting]) -> None:
        self.begun.release()
        self.gate.wait(10)
        self.written.release()
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append([seen.message_id for seen in sightings])

    def of_message(self, message_id: str) -> Membership | None:
        return None


def note(notes: CampaignNotes, *ids: str) -> None:
    for id in ids:
        notes.note(mail(), id, 1, OK, [])


def test_noting_waits_for_nothing_and_is_written_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    index = Index()

    async def scene() -> None:
        notes = CampaignNotes(index)
        note(notes, "A", "B")
        assert index.batches == []
        index.gate.set()
        await asyncio.to_thread(index.written.acquire)
        note(notes, "C")
        await asyncio.to_thread(index.written.acquire)
        await notes.flush()

    asyncio.run(scene())
    assert index.batches == [["A", "B"], ["C"]]


def test_many_are_written_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    index = Index()
    index.gate.set()

    async def scene() -> None:
        notes = CampaignNotes(index)
        note(notes, *"ABCDE")
        await notes.flush()

    asyncio.run(scene())
    assert index.batches == [["A", "B"], ["C", "D"], ["E"]]


def test_what_the_database_refuses_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    index = Index(errors=[StorageError("locked", "busy"), StorageError("locked", "busy")])
    index.gate.set()

    async def scene() -> None:
        notes = CampaignNotes(index)
        note(notes, "A")
        for _ in range(3):
            await asyncio.to_thread(index.written.acquire)
        await notes.flush()

    asyncio.run(scene())
    assert index.batches == [["A"]]


def test_a_fault_of_ours_is_not_tried_for_ever() -> None:
    index = Index(errors=[RuntimeError("bug")])
    index.gate.set()
    lost = result("lost")

    async def scene() -> None:
        notes = CampaignNotes(index)
        note(notes, "A")
        await notes.flush()
        note(notes, "B")
        await notes.flush()

    asyncio.run(scene())
    assert index.batches == [["B"]]
    assert result("lost") - lost == 1


def test_beyond_the_bound_messages_are_dropped_and_counted() -> None:
    index = Index()
    index.gate.set()
    dropped = result("dropped")

    async def scene() -> None:
        notes = CampaignNotes(index, max_waiting=2)
        note(notes, *"ABCDE")
        await notes.flush()

    asyncio.run(scene())
    assert index.batches == [["A", "B"]]
    assert result("dropped") - dropped == 3


def test_at_the_end_what_cannot_be_written_is_lost_and_counted() -> None:
    index = Index(errors=[StorageError("gone")])
    index.gate.set()
    lost = result("lost")

    async def scene() -> None:
        notes = CampaignNotes(index)
        note(notes, "A", "B")
        await notes.flush()
        await notes.flush()

    asyncio.run(scene())
    assert index.batches == []
    assert result("lost") - lost == 2


@pytest.mark.parametrize("late", [True, False])
def test_the_end_of_the_process_writes_each_message_once(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """A timer that a failed attempt, or a message at the last moment, has set must not write beside it."""
    monkeypatch.setattr(module, "BATCH", 1)
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0)
    index = Index(errors=[] if late else [StorageError("locked", "busy")])

    async def scene() -> None:
        notes = CampaignNotes(index)
        note(notes, *"ABCD")
        if not late:
            await asyncio.to_thread(index.begun.acquire)
        ending = asyncio.create_task(notes.flush())
        await asyncio.sleep(0)
        if not late:
            index.gate.set()
            await asyncio.to_thread(index.written.acquire)
            index.gate.clear()
        await asyncio.to_thread(index.begun.acquire)
        if late:
            note(notes, "E")
        for _ in range(10):  # the timer's moment passes
            await asyncio.sleep(0)
        index.gate.set()
        await ending

    asyncio.run(scene())
    assert index.batches == [[id] for id in ("ABCDE" if late else "ABCD")]


REPORT_TO = "spam@reports.example.org"


def test_a_report_is_none_of_those_that_it_holds_and_not_counted() -> None:
    stage = Counting(client=Connection(ip_address("192.0.2.7"), trust=TrustClass.REPORT), reports="reports.example.org")
    assert ended(stage, REPORT_TO) == 250
    assert stage.states() == []


@pytest.mark.parametrize("order", [("bob", REPORT_TO), (REPORT_TO, "bob")])
def test_a_message_that_also_went_to_a_report_address_counts_as_what_became_of_it(order: tuple[str, ...]) -> None:
    stage = Counting(client=Connection(ip_address("192.0.2.7"), trust=TrustClass.REPORT), reports="reports.example.org")
    assert ended(stage, *order) == 250
    assert stage.states() == [TerminalState.FORWARDED]
