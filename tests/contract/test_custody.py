"""Owns the contract of ports.Custody: the same tests run on the double and on the real one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from filterd.errors import StorageError
from filterd.ports import EvidenceRecord, Outcome, TerminalState
from filterd.storage import ledger, outbox, quarantine
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from tests.support.memory import MemoryCustody
from tests.support.storage import (
    BODY,
    PREPENDED,
    evidence,
    held,
    make_database,
    make_postgres,
    message,
    outcomes,
)

Q = TerminalState.QUARANTINED


@dataclass
class Subject:
    """A custody and how to look at what it has kept."""

    custody: Any
    states: Callable[[str], dict[str, TerminalState] | None]
    body: Callable[[str], bytes]
    evidence: Callable[[str], EvidenceRecord | None]
    retrying: Callable[[str], set[str]]
    fields: Callable[[str, str], bytes]


def _memory() -> Subject:
    custody = MemoryCustody()

    def kept(id: str) -> Any:
        return custody.messages.get(id)

    return Subject(
        custody,
        lambda id: kept(id).states if kept(id) else None,
        lambda id: b"".join(kept(id).body),
        lambda id: kept(id).evidence,
        lambda id: set(kept(id).held.retry),
        lambda id, recipient: kept(id).held.fields.get(recipient, kept(id).held.prepended),
    )


def _sql(db: Database) -> Subject:
    def states(id: str) -> dict[str, TerminalState] | None:
        trace = ledger.trace(db, id)
        return {row.recipient: row.state for row in trace.message.outcomes} if trace else None

    def found(id: str) -> EvidenceRecord | None:
        trace = ledger.trace(db, id)
        return trace.evidence if trace else None

    return Subject(
        SqlCustody(db),
        states,
        lambda id: quarantine.prepended(db, id) + quarantine.body(db, id),
        found,
        lambda id: {item.recipient for item in outbox.list_outbox(db, message_id=id) if item.state == "Ready"},
        lambda id, recipient: quarantine.prepended(db, id, recipient),
    )


@pytest.fixture(
    params=["memory", "sqlite", "sqlite-files", pytest.param("postgresql", marks=pytest.mark.server("postgres"))]
)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "memory":
        yield _memory()
        return
    if request.param == "postgresql":
        db = make_postgres(request.getfixturevalue("postgres"), tmp_path)
    else:
        db = make_database(tmp_path, inline_bytes=0 if request.param == "sqlite-files" else 1_048_576)
    made = _sql(db)
    yield made
    made.custody.close()
    db.close()


def test_a_begun_message_has_no_end_yet(subject: Subject) -> None:
    record = message()
    asyncio.run(subject.custody.begin(record))
    assert subject.states(record.id) == {}


def test_an_unknown_message_is_unknown(subject: Subject) -> None:
    assert subject.states("0000000000000000") is None


@pytest.mark.parametrize("begun", [True, False])
def test_each_recipient_gets_its_own_end(subject: Subject, begun: bool) -> None:
    record = message("anna@example.net", "bert@example.net")
    ends = [
        Outcome("anna@example.net", TerminalState.FORWARDED, "250 2.6.0 OK"),
        Outcome("bert@example.net", TerminalState.REJECTED, "550 5.1.1 unknown"),
    ]

    async def run() -> None:
        if begun:
            await subject.custody.begin(record)
        await subject.custody.finish(record, ends, evidence(), None)

    asyncio.run(run())
    assert subject.states(record.id) == {"anna@example.net": "forwarded", "bert@example.net": "rejected"}
    assert subject.evidence(record.id) == evidence()


def test_a_message_without_recipients_ends_too(subject: Subject) -> None:
    record = replace(message(), recipients=())
    asyncio.run(subject.custody.finish(record, [Outcome("", TerminalState.REJECTED, "554 5.7.1 no")], evidence(), None))
    assert subject.states(record.id) == {"": "rejected"}


@pytest.mark.parametrize("body", [b"", BODY, os.urandom(300_000), b"a" * 3_000_000], ids=len)
def test_a_held_message_comes_back_octet_by_octet(subject: Subject, body: bytes) -> None:
    record = message()
    asyncio.run(subject.custody.finish(record, outcomes(record, Q), evidence(), held(record, body)))
    assert subject.body(record.id) == PREPENDED + body


def test_a_copy_to_retry_is_in_the_outbox_at_once(subject: Subject) -> None:
    record = message("anna@example.net", "bert@example.net")
    kept = held(record, retry=["bert@example.net"])
    asyncio.run(subject.custody.finish(record, outcomes(record, Q), evidence(), kept))
    assert subject.retrying(record.id) == {"bert@example.net"}


def test_a_copy_has_its_own_fields_where_they_are_others(subject: Subject) -> None:
    record = message("anna@example.net", "bert@example.net")
    kept = replace(held(record), fields={"bert@example.net": b"Other: 1\r\n"})
    asyncio.run(subject.custody.finish(record, outcomes(record, Q), evidence(), kept))
    assert subject.fields(record.id, "anna@example.net") == PREPENDED
    assert subject.fields(record.id, "bert@example.net") == b"Other: 1\r\n"
    assert subject.fields(record.id, "who-got-none@example.net") == PREPENDED


def test_a_message_cannot_end_twice(subject: Subject) -> None:
    record = message()

    async def run() -> None:
        await subject.custody.finish(record, outcomes(record), evidence(), None)
        with pytest.raises(StorageError):
            await subject.custody.finish(record, outcomes(record, Q), evidence(), held(record))
        with pytest.raises(StorageError):
            await subject.custody.finish(record, outcomes(record, TerminalState.REJECTED), evidence(), None)

    asyncio.run(run())
    assert subject.states(record.id) == {"anna@example.net": "forwarded"}


def test_a_second_held_end_does_not_harm_the_first_body(subject: Subject) -> None:
    record = message()

    async def run() -> None:
        await subject.custody.finish(record, outcomes(record, Q), evidence(), held(record))
        with pytest.raises(StorageError):
            await subject.custody.finish(record, outcomes(record, Q), evidence(), held(record, b"other"))

    asyncio.run(run())
    assert subject.body(record.id) == PREPENDED + BODY


def test_two_messages_with_one_id_do_not_melt(subject: Subject) -> None:
    record = message()
    other = replace(record, worker="1:boot")

    async def run() -> None:
        await subject.custody.begin(record)
        with pytest.raises(StorageError):
            await subject.custody.begin(other)
        with pytest.raises(StorageError):
            await subject.custody.finish(other, outcomes(other), evidence(), None)

    asyncio.run(run())
    assert subject.states(record.id) == {}


@pytest.mark.parametrize(
    "case", ["nobody", "one missing", "stranger", "twice", "no copy", "copy of forwarded", "retry"]
)
def test_an_end_that_loses_somebody_is_refused(subject: Subject, case: str) -> None:
    record = message("anna@example.net", "bert@example.net")
    ends, kept = outcomes(record), None
    if case == "nobody":
        ends = []
    elif case == "one missing":
        ends = ends[:1]
    elif case == "stranger":
        ends = [*ends, Outcome("carl@example.net", TerminalState.FORWARDED, "250 OK")]
    elif case == "twice":
        ends = [*ends, ends[0]]
    elif case == "no copy":
        ends = outcomes(record, Q)
    elif case == "copy of forwarded":
        kept = held(record)
    elif case == "retry":
        ends, kept = outcomes(record, Q), held(record, retry=["carl@example.net"])
    with pytest.raises(StorageError, match=record.id):
        asyncio.run(subject.custody.finish(record, ends, evidence(), kept))
    assert subject.states(record.id) is None


def test_texts_of_attackers_are_stored_somehow(subject: Subject) -> None:
    hostile = "a\ud800b\x00c\U0001f600'\"%"
    record = replace(message(hostile), helo=hostile, subject=hostile, header_from=hostile, mail_from=hostile)
    asyncio.run(subject.custody.finish(record, outcomes(record, Q), evidence(), held(record)))
    states = subject.states(record.id)
    assert states is not None
    assert list(states.values()) == ["quarantined"]


def test_many_at_once(subject: Subject) -> None:
    records = [message() for _ in range(150)]

    async def one(number: int) -> None:
        record = records[number]
        await subject.custody.begin(record)
        if number % 2:
            await subject.custody.finish(record, outcomes(record), evidence(), None)
        else:
            await subject.custody.finish(record, outcomes(record, Q), evidence(), held(record))

    async def run() -> None:
        await asyncio.gather(*map(one, range(150)))

    asyncio.run(run())
    for number, record in enumerate(records):
        assert subject.states(record.id) == {"anna@example.net": "forwarded" if number % 2 else "quarantined"}


def test_a_bad_one_fails_alone(subject: Subject) -> None:
    good, bad = [message() for _ in range(20)], message()

    async def run() -> list[Any]:
        await subject.custody.finish(bad, outcomes(bad), evidence(), None)
        calls = [subject.custody.finish(record, outcomes(record, Q), evidence(), held(record)) for record in good]
        calls.insert(10, subject.custody.finish(bad, outcomes(bad, Q), evidence(), held(bad)))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    answers = asyncio.run(run())
    assert isinstance(answers.pop(10), StorageError)
    assert answers == [None] * 20
    assert all(subject.states(record.id) == {"anna@example.net": "quarantined"} for record in good)


def test_recover_closes_what_an_earlier_boot_left_open(subject: Subject) -> None:
    left, ended = message("anna@example.net", "bert@example.net", worker="3:old"), message(worker="3:old")
    mine, neighbour = message(worker="3:new"), message(worker="33:old")

    async def run() -> None:
        for record in (left, ended, mine, neighbour):
            await subject.custody.begin(record)
        await subject.custody.finish(ended, outcomes(ended), evidence(), None)

    asyncio.run(run())
    assert subject.custody.recover("3", "new") == [left.id]
    assert subject.states(left.id) == {"anna@example.net": "aborted", "bert@example.net": "aborted"}
    assert subject.states(ended.id) == {"anna@example.net": "forwarded"}
    assert subject.states(mine.id) == {}
    assert subject.states(neighbour.id) == {}
    assert subject.custody.recover("3", "new") == []


def test_after_close_nothing_is_promised(subject: Subject) -> None:
    record = message()
    subject.custody.close()
    with pytest.raises(StorageError):
        asyncio.run(subject.custody.begin(record))
    assert subject.states(record.id) is None
