"""What we know of a message that somebody reports."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from filterd.config import CampaignsConfig
from filterd.ports import TerminalState
from filterd.storage import ledger, quarantine, reported
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from tests.support.campaigns import sighting
from tests.support.storage import evidence, keep, message, outcomes

ANNA, BOB = "anna@example.net", "bob@example.net"


def test_the_record_by_our_id(db: Database) -> None:
    record = message(ANNA)
    keep(db, record, state=TerminalState.FORWARDED)
    SqlCampaigns(db, CampaignsConfig()).add([sighting(record.id, 1)])
    known = reported.by_id(db, record.id, ANNA)
    assert known is not None
    assert (known.message_id, known.name, known.action) == (record.id, "<1@example.org>", "quarantine")
    assert (known.features, known.campaign, known.delivered) == (b"\x01\0\0\0", record.id, True)
    assert not known.spoofed
    assert reported.by_id(db, "NONE", ANNA) is None


def test_who_got_a_copy(db: Database) -> None:
    record = message("Anna@example.net", BOB)
    keep(db, record)
    assert [_delivered(db, record.id, who) for who in (ANNA, BOB)] == [False, False]
    quarantine.release(db, record.id, ["Anna@example.net"], "ops")
    assert [_delivered(db, record.id, who) for who in (ANNA, BOB)] == [True, False]


@pytest.mark.parametrize("state", [TerminalState.REJECTED, TerminalState.DEFERRED, TerminalState.ABORTED])
def test_what_was_not_taken_reached_nobody(db: Database, state: TerminalState) -> None:
    record = message(ANNA)
    keep(db, record, state=state)
    assert not _delivered(db, record.id, ANNA)


def test_by_the_message_id_with_and_without_brackets_newest_first(db: Database) -> None:
    records = [message(ANNA), message(BOB), message(ANNA, message_id="<2@example.org>")]
    keep(db, *records, state=TerminalState.FORWARDED)
    for name in ("<1@example.org>", "1@example.org", " <1@example.org> "):
        found = reported.by_name(db, name, ANNA)
        assert [(known.message_id, known.delivered) for known in found] == [
            (records[1].id, False),
            (records[0].id, True),
        ]
    assert reported.by_name(db, "<3@example.org>", ANNA) == []


@pytest.mark.parametrize("name", ["", "<>", "  ", "x" * 1000])
def test_what_names_nothing(db: Database, name: str) -> None:
    keep(db, message(ANNA, message_id=name))
    assert reported.by_name(db, name, ANNA) == []


def test_many_messages_of_one_name_are_bounded(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reported, "CANDIDATES", 2)
    records = [message(ANNA) for _ in range(3)]
    keep(db, *records)
    found = reported.by_name(db, "<1@example.org>", ANNA)
    assert [known.message_id for known in found] == [records[2].id, records[1].id]


def test_one_mail_to_all_under_one_name_does_not_hide_the_copy_of_the_reporter(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reported, "CANDIDATES", 2)
    records = [message("Anna@example.net"), *(message(BOB) for _ in range(4))]
    keep(db, *records, state=TerminalState.FORWARDED)
    found = reported.by_name(db, "<1@example.org>", ANNA)
    assert [(known.message_id, known.delivered) for known in found] == [
        (records[0].id, True),
        (records[4].id, False),
    ]


def test_who_was_logged_in(db: Database) -> None:
    record = message(ANNA)
    found = replace(evidence(), extra={"user": "EXAMPLE\\anna"})
    custody = SqlCustody(db)
    asyncio.run(custody.finish(record, outcomes(record, TerminalState.FORWARDED), found, None))
    custody.close()
    known = reported.by_id(db, record.id, ANNA)
    assert known is not None
    assert known.login == "EXAMPLE\\anna"


def test_without_evidence_the_record_is_there_without_content(db: Database) -> None:
    record = message(ANNA)
    keep(db, record, state=TerminalState.FORWARDED)
    ledger.expire_evidence(db, 2**60)
    known = reported.by_id(db, record.id, ANNA)
    assert known is not None
    assert (known.action, known.features, known.delivered) == ("", b"", True)


def _delivered(db: Database, id: str, reporter: str) -> bool:
    known = reported.by_id(db, id, reporter)
    assert known is not None
    return known.delivered
