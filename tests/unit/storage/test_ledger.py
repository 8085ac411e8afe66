"""Owns the tests of the trace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from filterd.ports import TerminalState
from filterd.storage import ledger, quarantine
from filterd.storage.audit import audit
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from tests.support.storage import evidence, keep, message, wall_ms


def test_trace_has_everything(db: Database) -> None:
    record = message("anna@example.net", "bert@example.net")
    keep(db, record)
    quarantine.release(db, record.id, ["anna@example.net"], "admin")
    trace = ledger.trace(db, record.id)
    assert trace is not None
    assert trace.message.recipients == record.recipients
    assert (trace.message.action, trace.message.scl, trace.message.score) == ("quarantine", 6, 4.5)
    assert [(row.recipient, row.state, row.reply, row.detail) for row in trace.message.outcomes] == [
        ("anna@example.net", "quarantined", "250 2.6.0 OK", "detail"),
        ("bert@example.net", "quarantined", "250 2.6.0 OK", "detail"),
    ]
    assert trace.evidence == evidence()
    assert trace.quarantine is not None
    assert [item.recipient for item in trace.outbox] == ["anna@example.net"]


def test_trace_of_a_message_in_work(db: Database) -> None:
    record = message()
    custody = SqlCustody(db)
    asyncio.run(custody.begin(record))
    custody.close()
    trace = ledger.trace(db, record.id)
    assert trace is not None
    assert (trace.message.outcomes, trace.message.action, trace.evidence, trace.quarantine) == ((), None, None, None)
    assert ledger.open_messages(db) == 1
    assert ledger.trace(db, "X") is None


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "ab"),
        ({"message_id": "<a@x>"}, "a"),
        ({"mail_from": "SENDER@example.org"}, "ab"),
        ({"recipient": "Bert@example.net"}, "b"),
        ({"client_ip": "192.0.2.1"}, "ab"),
        ({"client_ip": "192.0.2.2"}, ""),
        ({"state": "rejected"}, "b"),
        ({"state": "rejected", "recipient": "anna@example.net"}, ""),
        ({"since_ms": 2000}, "b"),
        ({"until_ms": 2000}, "a"),
    ],
)
def test_search(db: Database, filters: dict[str, Any], found: str) -> None:
    a = message("anna@example.net", received_ms=1000, message_id="<a@x>")
    b = message("bert@example.net", received_ms=2000, message_id="<b@x>")
    keep(db, a)
    keep(db, b, state=TerminalState.REJECTED)
    names = {a.id: "a", b.id: "b"}
    assert "".join(sorted(names[item.id] for item in ledger.search_trace(db, **filters).items)) == found


def test_search_in_pages(db: Database) -> None:
    records = [message() for _ in range(5)]
    keep(db, *records, state=TerminalState.FORWARDED)
    first = ledger.search_trace(db, limit=3)
    second = ledger.search_trace(db, limit=3, cursor=first.next_cursor)
    assert [item.id for item in first.items + second.items] == [record.id for record in reversed(records)]
    assert second.next_cursor is None


def test_counts(db: Database) -> None:
    keep(db, message(), message("a@example.net", "b@example.net"), state=TerminalState.FORWARDED)
    keep(db, message())
    assert ledger.counts(db) == {"forwarded": 3, "quarantined": 1, "rejected": 0, "deferred": 0, "aborted": 0}
    assert sum(ledger.counts(db, wall_ms() + 60_000).values()) == 0


def test_evidence_expires_and_the_ledger_stays(db: Database) -> None:
    old, new = message(received_ms=1000), message(received_ms=9000)
    keep(db, old, new, state=TerminalState.FORWARDED)
    assert ledger.expire_evidence(db, 5000) == 1
    for record, has in ((old, False), (new, True)):
        trace = ledger.trace(db, record.id)
        assert trace is not None
        assert (trace.evidence is not None) == has
        assert trace.message.outcomes
    assert audit(db, wall_ms()).clean  # gone on purpose
