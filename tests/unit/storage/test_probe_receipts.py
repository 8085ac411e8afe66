"""Receipts for probes wait in the quarantine, out of people's sight, until they are read; then their octets go."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from filterd.errors import PermanentError
from filterd.mail.evidence import Reason
from filterd.ports import TerminalState
from filterd.storage import probe_receipts, quarantine
from filterd.storage.audit import audit
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.probe_receipts import done, held
from tests.support import storage
from tests.support.storage import BODY, evidence, keep, message, outcomes

T = 2_000_000_000_000
TO = "filterd-probe-1@filter.example.net"


def receipt(db: Database, received_ms: int = T, to: str = TO) -> str:
    """The id of a receipt that came."""
    record = message(to, mail_from="", received_ms=received_ms)
    box = replace(storage.held(record), reason=Reason.PROBE_RECEIPT.value)
    custody = SqlCustody(db)
    try:
        asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), box))
    finally:
        custody.close()
    return record.id


def names(db: Database, address: str = TO, since_ms: int = T) -> list[str]:
    return [item.message_id for item in held(db, address, since_ms)]


def test_those_for_one_address_are_found_the_oldest_first(db: Database) -> None:
    keep(db, message(TO, received_ms=T))  # spam
    later, first = receipt(db, T + 2), receipt(db, T)
    receipt(db, T - 1)
    receipt(db, T, "filterd-probe-2@filter.example.net")
    assert names(db) == [first, later]
    assert names(db, TO.upper()) == [first, later]
    assert held(db, TO, T)[1].received_ms == T + 2


def test_one_that_is_read_is_gone_with_its_octets_and_its_record_stays(db: Database) -> None:
    id, other = receipt(db), receipt(db)
    assert quarantine.body(db, id) == BODY
    assert done(db, id, "receipt read: delivered", T + 5)
    assert not done(db, id, "receipt read: failed", T + 6)
    assert names(db) == [other]
    item = quarantine.get(db, id)
    assert item is not None
    (copy,) = item.copies
    assert (copy.state, copy.reason, copy.changed_ms) == ("deleted", "receipt read: delivered", T + 5)
    with pytest.raises(PermanentError):
        quarantine.body(db, id)
    assert audit(db, T + 7).clean


def test_nothing_else_is_ended_by_it(db: Database) -> None:
    record = message(TO)
    keep(db, record)
    assert not done(db, record.id, "receipt read: delivered", T)
    assert quarantine.body(db, record.id) == BODY


def test_a_large_one_leaves_no_file(sqlite_db: Database) -> None:
    sqlite_db.inline_bytes = 0
    id = receipt(sqlite_db)
    assert [path for path in sqlite_db.body_dir.rglob("*") if path.is_file()]
    assert done(sqlite_db, id, "receipt read: delivered", T)
    assert [path for path in sqlite_db.body_dir.rglob("*") if path.is_file()] == []


def test_people_see_it_only_when_they_ask_for_it(db: Database) -> None:
    record = message()
    keep(db, record)
    id = receipt(db)
    assert [item.id for item in quarantine.list_quarantine(db).items] == [record.id]
    assert [item.id for item in quarantine.list_quarantine(db, reason="probe_receipt").items] == [id]


def test_nobody_can_send_it_on_and_somebody_may_delete_it(db: Database) -> None:
    id = receipt(db)
    for recipients, others in ((None, ()), ((TO,), ()), ((), ("anna@example.org",))):
        with pytest.raises(PermanentError, match="never passed on"):
            quarantine.release(db, id, recipients, "anna", others)
    quarantine.delete(db, id, "anna")
    assert names(db) == []


def test_one_that_nobody_reads_goes_with_its_retention(db: Database) -> None:
    id = receipt(db)
    assert quarantine.expire(db, T + 1) == 1
    assert names(db) == []
    item = quarantine.get(db, id)
    assert item is not None
    assert (item.state, item.has_body) == ("expired", False)


def test_many_have_a_bound(db: Database) -> None:
    for number in range(probe_receipts._MOST + 3):
        receipt(db, T + number)
    assert len(names(db)) == probe_receipts._MOST
