"""Report mails in the quarantine: read once, kept until then, gone afterwards; other people's copies are left alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from filterd.errors import PermanentError
from filterd.mail.evidence import Reason
from filterd.ports import HeldMessage, MessageRecord, TerminalState
from filterd.storage import notices, quarantine, report_copies
from filterd.storage.audit import audit
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.report_copies import MAX_ATTEMPTS, PAUSES, Answer, ReportCopy, claim, failed, finish
from tests.support.storage import evidence, held, keep, message, outcomes

T = 2_000_000_000_000  # later than what the test support writes
TO = "spam@reports.example.org"


def take(db: Database, record: MessageRecord, box: HeldMessage) -> str:
    custody = SqlCustody(db)
    try:
        ends = outcomes(record, TerminalState.QUARANTINED)
        asyncio.run(custody.finish(record, ends, evidence(), box))
    finally:
        custody.close()
    return record.id


def report(db: Database, *others: str, large: bool = False) -> str:
    """The id of a report mail, with held copies for others."""
    record = message(TO, *others, mail_from="anna@example.org")
    box = replace(held(record), reason="looks_like_spam" if others else "user_report", reasons={TO: "user_report"})
    return take(db, record, box)


def state(db: Database, id: str, recipient: str = TO) -> tuple[str, str]:
    item = quarantine.get(db, id)
    assert item is not None
    return next((copy.state.value, copy.reason) for copy in item.copies if copy.recipient == recipient)


def taken(db: Database, at_ms: int = T) -> ReportCopy:
    found = claim(db, at_ms)
    assert found is not None
    return found


def test_the_reason_is_the_policys_own_word() -> None:
    assert Reason.USER_REPORT.value == "user_report"  # the index and the query name it in their text


def test_only_report_mails_are_taken_the_oldest_first(db: Database) -> None:
    keep(db, message())  # spam
    first, second = report(db), report(db)
    assert report_copies.waiting(db) == 2
    assert [taken(db).message_id for _ in range(2)] == [first, second]
    assert claim(db, T) is None


def test_a_copy_knows_who_sent_it_and_where(db: Database) -> None:
    id = report(db)
    assert taken(db) == ReportCopy(id, TO, "anna@example.org", 1)


def test_who_dies_with_it_leaves_it_to_the_next_after_a_pause_that_grows(db: Database) -> None:
    report(db)
    at = T
    for attempt, pause in enumerate((*PAUSES, PAUSES[-1]), 1):
        assert taken(db, at).attempts == attempt
        assert claim(db, at + pause * 1000 - 1) is None
        at += pause * 1000
    assert taken(db, at).attempts == MAX_ATTEMPTS + 1, "it is never lost"


def test_a_failure_stands_beside_the_copy_and_costs_no_pause_more(db: Database) -> None:
    id = report(db)
    failed(db, taken(db), "no room on the disk")
    item = quarantine.get(db, id)
    assert item is not None
    assert (item.copies[0].state, item.copies[0].reason) == ("held", "user_report")
    assert item.copies[0].changed_by == "filterd, attempt 1 failed: no room on the disk"
    assert claim(db, T + PAUSES[0] * 1000 - 1) is None
    assert taken(db, T + PAUSES[0] * 1000).attempts == 2


def test_done_is_deleted_with_its_octets_and_the_answer_is_queued(db: Database) -> None:
    id = report(db)
    assert finish(db, taken(db), "report read: 1 counting as spam", Answer("report", "anna@example.org", b"x"), T)
    assert state(db, id) == ("deleted", "report read: 1 counting as spam")
    with pytest.raises(PermanentError):
        quarantine.body(db, id)
    (answer,) = notices.list_notices(db)
    assert (answer.recipient, answer.octets, answer.state) == ("anna@example.org", b"x", "Ready")
    assert audit(db, T).disagreements == ()


def test_of_two_who_read_it_only_the_first_answers(db: Database) -> None:
    report(db)
    first = taken(db)
    second = taken(db, T + PAUSES[0] * 1000)
    assert finish(db, second, "report read", Answer("report", "anna@example.org", b"x"), T)
    assert not finish(db, first, "report read", Answer("report", "anna@example.org", b"x"), T)
    failed(db, first, "too late")
    assert len(notices.list_notices(db)) == 1


def test_somebody_elses_copy_keeps_the_octets(db: Database) -> None:
    id = report(db, "bob@example.org")
    finish(db, taken(db), "report read", None, T)
    assert state(db, id, "bob@example.org") == ("held", "looks_like_spam")
    assert quarantine.body(db, id)
    assert audit(db, T).disagreements == ()


def test_an_answer_that_cannot_be_queued_leaves_the_report(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    id = report(db)

    def broken(*_: object) -> int:
        raise RuntimeError("no room")

    monkeypatch.setattr(report_copies, "add_in", broken)
    with pytest.raises(Exception, match="no room"):
        finish(db, taken(db), "report read", Answer("report", "anna@example.org", b"x"), T)
    assert state(db, id) == ("held", "user_report")
    assert quarantine.body(db, id)


def test_the_list_of_the_quarantine_shows_them_only_when_asked(db: Database) -> None:
    keep(db, record := message())
    id, mixed = report(db), report(db, "bob@example.org")
    assert [item.id for item in quarantine.list_quarantine(db).items] == [mixed, record.id]
    assert [item.id for item in quarantine.list_quarantine(db, reason="user_report").items] == [id]


def test_looking_for_them_reads_no_other_held_mail(sqlite_db: Database) -> None:
    query = f"SELECT message_id FROM quarantine_copies WHERE {report_copies._WAITING} ORDER BY changed_ms LIMIT 500"
    with sqlite_db.read() as connection:
        plan = connection.execute(text("EXPLAIN QUERY PLAN " + query)).all()
    assert "ix_quarantine_copies_reports" in str(plan)


def test_which_messages_we_know(db: Database) -> None:
    record = message(message_id="<7@sender.example>")
    keep(db, record)
    assert report_copies.known(db, [record.id, "0" * 16], ["<7@sender.example>", "<8@x>"]) == (
        {record.id},
        {"<7@sender.example>"},
    )
    assert report_copies.known(db, [], []) == (set(), set())


def test_however_many_pause_a_new_one_is_taken_and_before_those_that_are_due_again(db: Database) -> None:
    for _ in range(report_copies._CANDIDATES + 1):
        report(db)
        taken(db)
    new = report(db)
    assert taken(db, T + PAUSES[0] * 1000).message_id == new
    assert taken(db, T + PAUSES[0] * 1000).attempts == 2


@pytest.mark.parametrize("ended", ["claimed", "failed"])
def test_every_pause_holds_whatever_else_stands_beside_the_attempt(db: Database, ended: str) -> None:
    report(db)
    at = T
    for pause in (*PAUSES, PAUSES[-1], PAUSES[-1], PAUSES[-1]):
        copy = taken(db, at)
        if ended == "failed":
            failed(db, copy, "attempt 1 failed")
        assert claim(db, at + pause * 1000 - 1) is None
        at += pause * 1000


def test_a_clock_that_was_ahead_keeps_no_report_waiting_for_that_day(db: Database) -> None:
    report(db)
    taken(db, T + 86_400_000)
    assert taken(db, T).attempts == 2
    assert claim(db, T - 1_000) is None, "a little ahead is another machine's clock"


def test_names_that_no_database_can_store_are_looked_up_as_they_were_stored(db: Database) -> None:
    keep(db, record := message(message_id="<a\ufffdb@sender.example>"))
    assert report_copies.known(db, [record.id, "\0"], ["<a\0b@sender.example>", "\ud800"]) == (
        {record.id},
        {"<a\ufffdb@sender.example>"},
    )
