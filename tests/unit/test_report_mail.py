"""Report mails in the quarantine become reports and one answer; whatever happens on the way, nothing is lost or reported twice."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from filterd.config import Config
from filterd.errors import PermanentError, StorageError, StorageFullError, TemporaryError
from filterd.mail.message import Message
from filterd.ports import TerminalState
from filterd.report_mail import ANSWERS_PER_HOUR, ReportMailRunner
from filterd.reporting import Claim, Submitted, submit
from filterd.reportmail.unpack import Unpacked, unpack
from filterd.storage import notices, quarantine, report_copies, reports
from filterd.storage.audit import audit
from filterd.storage.bodies import files
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.report_copies import MAX_ATTEMPTS, PAUSES
from filterd.storage.reports import Report
from tests.support.reportmail import ANNA, FORMS, Attachment, forwarded_msg, report_mail, several, spam
from tests.support.sideservice import make_config
from tests.support.storage import evidence, held, keep, make_database, message, outcomes, wall_ms

DOMAIN = "reports.example.org"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path)
    yield made
    made.close()


class Here:
    """Opens report mails in this process: the reader is the same, and a process for each test costs time."""

    def unpack(self, octets: bytes) -> Unpacked:
        return unpack(octets)


def config(folder: Path, **tables: dict[str, Any]) -> Config:
    named: dict[str, Any] = {"recipients": {"accepted_domains": ["example.org"]}, "reports": {"domain": DOMAIN}}
    return make_config(folder, **(named | tables))


def runner(db: Database, folder: Path, **options: Any) -> ReportMailRunner:
    tables = options.pop("tables", {})
    return ReportMailRunner(config(folder, **tables), db, **({"unpacker": Here()} | options))


def arrived(db: Database, octets: bytes, to: str = "spam", sender: str = ANNA, login: str = "") -> str:
    """A report mail as the mail path leaves it; its id."""
    record = message(f"{to}@{DOMAIN}", mail_from=sender)
    box = replace(held(record, octets), reason="user_report", reasons={f"{to}@{DOMAIN}": "user_report"})
    custody = SqlCustody(db)
    try:
        ends = outcomes(record, TerminalState.QUARANTINED)
        found = {"check": "recipient", "reason": "user_report", "properties": {"smtp.auth": login} if login else {}}
        asyncio.run(custody.finish(record, ends, replace(evidence(), evidence=[found]), box))
    finally:
        custody.close()
    return record.id


def delivered(db: Database, number: int = 1, *recipients: str) -> str:
    """A message that reached Anna through us; its id."""
    record = message(*(recipients or (ANNA,)), message_id=f"<{number}@sender.example>", mail_from="e@sender.example")
    keep(db, record, state=TerminalState.FORWARDED)
    return record.id


def found(db: Database) -> list[Report]:
    """All reports, the oldest first."""
    return list(reports.list_reports(db))[::-1]


def answers(db: Database) -> list[str]:
    """The texts of the answers, the oldest first."""
    return [body(item.octets) for item in notices.list_notices(db)][::-1]


def body(octets: bytes) -> str:
    mail = Message(octets)
    return base64.b64decode(bytes(mail.octets[mail.body_start :])).decode()


def outcome(db: Database, id: str) -> tuple[str, str]:
    item = quarantine.get(db, id)
    assert item is not None
    return item.copies[0].state.value, item.copies[0].reason


def test_nothing_waits(db: Database, tmp_path: Path) -> None:
    assert not runner(db, tmp_path).run_once()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_reported_by_what_we_saw_ourselves(db: Database, tmp_path: Path, form: str) -> None:
    ours = delivered(db)
    id = arrived(db, report_mail(FORMS[form](spam(1))))
    assert runner(db, tmp_path).run_once()
    (report,) = found(db)
    assert (report.message_id, report.label, report.reporter, report.source) == (ours, "spam", ANNA, "mail")
    assert report.note == f"report mail {id}"
    assert outcome(db, id)[0] == "deleted"
    (answer,) = answers(db)
    assert '"Offer 1":' in answer
    assert not runner(db, tmp_path).run_once()


@pytest.mark.parametrize(
    ("to", "subject", "label"),
    [
        *(("spam", "FW: Offer", "spam"), ("phish", "FW: Offer", "phish"), ("notspam", "FW: Offer", "ham")),
        *(("spam", "3|Offer", "phish"), ("notspam", "Junk: Offer", "spam"), ("phish", "Not junk: Offer", "ham")),
    ],
)
def test_the_subject_outranks_the_address(db: Database, tmp_path: Path, to: str, subject: str, label: str) -> None:
    delivered(db)
    arrived(db, report_mail(FORMS["rfc822"](spam(1)), subject=subject), to)
    runner(db, tmp_path).run_once()
    assert [report.label for report in found(db)] == [label]


def test_several_are_as_many_reports_and_one_answer(db: Database, tmp_path: Path) -> None:
    ours = [delivered(db, number) for number in (1, 2, 3)]
    arrived(db, report_mail(*several(3)))
    runner(db, tmp_path).run_once()
    assert [report.message_id for report in found(db)] == ours
    (answer,) = answers(db)
    assert answer.count("counted as spam") == 3


def test_whoever_writes_for_somebody_else_waits_for_a_review(db: Database, tmp_path: Path) -> None:
    delivered(db)
    arrived(db, report_mail(FORMS["rfc822"](spam(1)), sender="boss@example.org"))
    runner(db, tmp_path).run_once()
    (report,) = found(db)
    assert report.state == "held"
    assert "outsider" in report.holds
    assert report.reporter == f"boss@example.org (sent by <{ANNA}>)"
    assert answers(db) == [], "who cannot be told for sure is not written to"


def test_whoever_is_logged_in_as_somebody_else_waits_for_a_review(db: Database, tmp_path: Path) -> None:
    delivered(db)
    for login in ("eve", "anna"):
        arrived(db, report_mail(FORMS["rfc822"](spam(1))), login=login)
        runner(db, tmp_path).run_once()
    held, counting = found(db)
    assert (held.state, held.reporter) == ("held", f"{ANNA} (logged in as eve)")
    assert (counting.state, counting.reporter) == ("counting", ANNA)
    assert len(answers(db)) == 1


def test_a_stranger_waits_for_a_review_and_hears_nothing(db: Database, tmp_path: Path) -> None:
    delivered(db)
    arrived(db, report_mail(FORMS["rfc822"](spam(1)), sender="x@elsewhere.example"), sender="x@elsewhere.example")
    runner(db, tmp_path).run_once()
    (report,) = found(db)
    assert "outsider" in report.holds
    assert answers(db) == []


@pytest.mark.parametrize("form", ["rfc822", "eml", "msg"])
def test_what_a_helpdesk_was_forwarded_is_reported_not_the_cover(db: Database, tmp_path: Path, form: str) -> None:
    ours = delivered(db)
    cover = report_mail(FORMS["rfc822"](spam(1)), sender="user@example.org", message_id="<cover@example.org>")
    attachment: Attachment = forwarded_msg(spam(1)) if form == "msg" else FORMS[form](cover)
    arrived(db, report_mail(attachment))
    runner(db, tmp_path).run_once()
    assert [report.message_id for report in found(db)] == [ours]


def test_a_message_that_holds_another_is_reported_itself(db: Database, tmp_path: Path) -> None:
    record = message(ANNA, message_id="<outer@sender.example>")
    keep(db, record, state=TerminalState.FORWARDED)
    delivered(db)
    outer = report_mail(FORMS["rfc822"](spam(1)), sender="e@sender.example", message_id="<outer@sender.example>")
    arrived(db, report_mail(FORMS["rfc822"](outer)))
    runner(db, tmp_path).run_once()
    assert [report.message_id for report in found(db)] == [record.id]


def test_without_a_message_id_our_own_id_says_what_it_was(db: Database, tmp_path: Path) -> None:
    record = message(ANNA, message_id="")
    keep(db, record, state=TerminalState.FORWARDED)
    octets = spam(1, more=f"X-Filterd-Report: CIP:192.0.2.1;\r\n\tID:{record.id}\r\n")
    octets = octets.replace(b"<1@sender.example>", b"<made-by-exchange@mail.example.org>")
    arrived(db, report_mail(FORMS["rfc822"](octets)))
    runner(db, tmp_path).run_once()
    assert [report.message_id for report in found(db)] == [record.id]


def test_what_has_no_name_at_all_is_known_again(db: Database, tmp_path: Path) -> None:
    nameless = spam(1).replace(b"Message-ID: <1@sender.example>\r\n", b"")
    for _ in range(2):
        arrived(db, report_mail(FORMS["rfc822"](nameless)))
        runner(db, tmp_path).run_once()
    assert len(found(db)) == 1


def test_nothing_attached_is_said(db: Database, tmp_path: Path) -> None:
    id = arrived(db, report_mail())
    runner(db, tmp_path).run_once()
    assert found(db) == []
    assert "nothing was attached" in answers(db)[0]
    assert outcome(db, id) == ("deleted", "report read: nothing was attached")


def test_a_bounce_reports_nothing_and_is_not_answered(db: Database, tmp_path: Path) -> None:
    bounce = b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n" + spam(1)
    id = arrived(db, bounce, sender="")
    runner(db, tmp_path).run_once()
    assert (found(db), answers(db)) == ([], [])
    assert outcome(db, id) == ("deleted", "ignored: a bounce or an automatic answer")


def test_programs_are_heard_and_not_answered(db: Database, tmp_path: Path) -> None:
    delivered(db)
    arrived(db, report_mail(FORMS["rfc822"](spam(1)), more="Auto-Submitted: auto-generated\r\n"))
    runner(db, tmp_path).run_once()
    assert (len(found(db)), answers(db)) == (1, [])


def test_one_mailbox_gets_so_many_answers_in_an_hour(db: Database, tmp_path: Path) -> None:
    for number in range(ANSWERS_PER_HOUR):
        notices.add(db, "report", ANNA, b"", wall_ms() - number)
    arrived(db, report_mail())
    runner(db, tmp_path).run_once()
    assert len(notices.list_notices(db, limit=1000)) == ANSWERS_PER_HOUR
    later = wall_ms() + 3_700_000
    arrived(db, report_mail())
    runner(db, tmp_path, clock_ms=lambda: later).run_once()
    assert len(notices.list_notices(db, limit=1000)) == ANSWERS_PER_HOUR + 1


def test_answers_can_be_switched_off_and_have_the_author_that_is_wanted(db: Database, tmp_path: Path) -> None:
    arrived(db, report_mail())
    runner(db, tmp_path, tables={"reports": {"domain": DOMAIN, "answer": False}}).run_once()
    assert notices.list_notices(db) == ()
    arrived(db, report_mail())
    runner(db, tmp_path, tables={"reports": {"domain": DOMAIN, "answer_from": "helpdesk@example.org"}}).run_once()
    (answer,) = notices.list_notices(db)
    assert Message(answer.octets).first("from") == "<helpdesk@example.org>"
    assert Message(answer.octets).first("in-reply-to") == "<report@example.org>"


def test_our_own_author_is_not_answered(db: Database, tmp_path: Path) -> None:
    arrived(db, report_mail(sender="helpdesk@example.org"), sender="helpdesk@example.org")
    runner(db, tmp_path, tables={"reports": {"domain": DOMAIN, "answer_from": "helpdesk@example.org"}}).run_once()
    assert answers(db) == []


def test_a_message_that_the_ledger_refuses_does_not_stop_the_others(db: Database, tmp_path: Path) -> None:
    ours = [delivered(db, number) for number in (1, 2)]

    def picky(used: Config, database: Database, claim: Claim) -> Submitted:
        if claim.internet_message_id == "<1@sender.example>":
            raise PermanentError("label: refused")
        return submit(used, database, claim)

    arrived(db, report_mail(*several(2)))
    runner(db, tmp_path, report=picky).run_once()
    assert [report.message_id for report in found(db)] == ours[1:]
    assert "it cannot be used" in answers(db)[0]


class Broken:
    """A process that cannot be had."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def unpack(self, octets: bytes) -> Unpacked:
        raise self.error


@pytest.mark.parametrize("error", [TemporaryError("no process", "broken"), RuntimeError("bug")])
def test_what_cannot_be_read_stays_is_tried_with_pauses_and_given_up_with_an_answer(
    db: Database, tmp_path: Path, error: Exception
) -> None:
    id, now = arrived(db, report_mail(FORMS["rfc822"](spam(1)))), wall_ms() + 10**9
    for attempt, pause in enumerate((*PAUSES, 0), 1):
        at = now
        assert runner(db, tmp_path, unpacker=Broken(error), clock_ms=lambda at=at: at).run_once()
        if attempt < MAX_ATTEMPTS:
            assert outcome(db, id) == ("held", "user_report")
            assert answers(db) == []
            assert not runner(db, tmp_path, clock_ms=lambda at=at, p=pause: at + p * 1000 - 1).run_once()
        now += pause * 1000
    state, reason = outcome(db, id)
    assert state == "deleted"
    assert reason.startswith(f"given up after {MAX_ATTEMPTS} attempts: ")
    assert "could not be read" in answers(db)[0]
    assert found(db) == []


def test_a_report_that_cannot_be_read_holds_up_no_other(db: Database, tmp_path: Path) -> None:
    arrived(db, report_mail())
    assert runner(db, tmp_path, unpacker=Broken(TemporaryError("no process"))).run_once()
    second = arrived(db, report_mail())
    assert runner(db, tmp_path).run_once()
    assert outcome(db, second)[0] == "deleted"


@pytest.mark.parametrize("error", [StorageFullError("no room"), StorageError("locked", "busy")])
def test_a_full_disk_keeps_the_report_until_there_is_room(db: Database, tmp_path: Path, error: Exception) -> None:
    delivered(db)

    def full(*_: object) -> Submitted:
        raise error

    id = arrived(db, report_mail(FORMS["rfc822"](spam(1))))
    runner(db, tmp_path, report=full).run_once()
    assert outcome(db, id) == ("held", "user_report")
    later = wall_ms() + 10**9
    runner(db, tmp_path, clock_ms=lambda: later).run_once()
    assert (len(found(db)), len(answers(db))) == (1, 1)


_KILLED = """
import os, signal, sys
from pathlib import Path
from filterd.config import parse_config
from filterd.report_mail import ReportMailRunner
from filterd.reporting import submit
from filterd.reportmail.unpack import unpack
from filterd.storage import report_copies
from tests.support.storage import make_database

where, folder = sys.argv[1], Path(sys.argv[2])
config = parse_config({
    "server": {"state_dir": str(folder)},
    "recipients": {"accepted_domains": ["example.org"]},
    "reports": {"domain": "reports.example.org"},
}, folder)
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
count = 0
def report(*given):
    global count
    done = submit(*given)
    count += 1
    if where == f"reported {count}":
        die()
    return done
class Deadly:
    def unpack(self, octets):
        if where == "opening":
            die()
        return unpack(octets)
finish = report_copies.finish
def finishing(*given):
    if where == "before the end":
        die()
    result = finish(*given)
    if where == "after the end":
        die()
    return result
report_copies.finish = finishing
ReportMailRunner(config, make_database(folder), unpacker=Deadly(), report=report).run_once()
"""


@pytest.mark.parametrize("where", ["opening", "reported 1", "reported 2", "before the end", "after the end"])
def test_a_process_that_is_killed_anywhere_reports_once_and_answers_once(tmp_path: Path, where: str) -> None:
    db = make_database(tmp_path)
    ours = [delivered(db, number) for number in (1, 2)]
    id = arrived(db, report_mail(*several(2)))
    ended = subprocess.run([sys.executable, "-c", _KILLED, where, str(tmp_path)], timeout=60, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL
    if where != "after the end":
        assert outcome(db, id) == ("held", "user_report"), "it is still there"
    assert not runner(db, tmp_path).run_once(), "its pause keeps others away"
    later = wall_ms() + 10**9
    assert runner(db, tmp_path, clock_ms=lambda: later).run_once() == (where != "after the end")
    assert [report.message_id for report in found(db)] == ours
    (answer,) = answers(db)
    assert answer.count("counted as spam") == 2
    assert outcome(db, id)[0] == "deleted"
    db.close()


def test_the_loop_goes_on_after_a_crash_and_stops_when_told(db: Database, tmp_path: Path) -> None:
    stop = asyncio.Event()
    first = arrived(db, report_mail())
    second = arrived(db, report_mail())

    class Once(Here):
        def unpack(self, octets: bytes) -> Unpacked:
            waiting = report_copies.waiting(db)
            if waiting == 1:
                loop.call_soon_threadsafe(stop.set)
            return super().unpack(octets)

    async def story() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        await runner(db, tmp_path, unpacker=Once(), poll_seconds=0.01).run(stop)

    loop = asyncio.new_event_loop()
    loop.close()
    asyncio.run(story())
    assert [outcome(db, id)[0] for id in (first, second)] == ["deleted", "deleted"]


@pytest.mark.parametrize(
    "name",
    [
        "<" + "a" * 600 + "@sender.example>",
        "<a\0b@sender.example>",
        "<\xe4@sender.example>",
        "<a@b.example> (x)",
        "<a b@c>",
    ],
)
def test_no_odd_message_id_lets_a_stranger_put_somebody_elses_message_in_the_place_of_his(
    db: Database, tmp_path: Path, name: str
) -> None:
    outer = report_mail(FORMS["rfc822"](spam(1)), sender="e@sender.example", message_id="<outer@x.example>")
    outer = outer.replace(b"<outer@x.example>", name.encode("latin-1"))
    record = message(ANNA, message_id=Message(outer).first("message-id")[:500])
    keep(db, record, state=TerminalState.FORWARDED)
    delivered(db)
    arrived(db, report_mail(FORMS["rfc822"](outer)))
    runner(db, tmp_path).run_once()
    assert [report.message_id for report in found(db)] == [record.id]


def test_what_a_stranger_attached_is_not_reported_for_a_mail_that_we_do_not_know(db: Database, tmp_path: Path) -> None:
    delivered(db)
    outer = report_mail(FORMS["rfc822"](spam(1)), sender="e@sender.example", message_id="<forgotten@sender.example>")
    arrived(db, report_mail(FORMS["rfc822"](outer)))
    runner(db, tmp_path).run_once()
    assert [report.message_id for report in found(db)] == [None]


def test_an_empty_message_id_is_no_name(db: Database, tmp_path: Path) -> None:
    for text in ("cheap pills", "cheap watches"):
        nameless = spam(1, text=text).replace(b"<1@sender.example>", b"<>")
        arrived(db, report_mail(FORMS["rfc822"](nameless)))
        runner(db, tmp_path).run_once()
    assert len(found(db)) == 2


class Never:
    """Must not be asked."""

    def unpack(self, octets: bytes) -> Unpacked:
        raise AssertionError("opened once more")


def test_one_that_ends_its_reader_each_time_is_given_up_unread(db: Database, tmp_path: Path) -> None:
    id, now = arrived(db, report_mail(FORMS["rfc822"](spam(1)))), wall_ms() + 10**9
    for pause in (*PAUSES, PAUSES[-1]):
        assert report_copies.claim(db, now) is not None  # and its process dies
        now += pause * 1000
    assert runner(db, tmp_path, unpacker=Never(), clock_ms=lambda: now).run_once()
    state, reason = outcome(db, id)
    assert (state, "ended the process" in reason) == ("deleted", True)
    assert "could not be read" in answers(db)[0]


def test_the_answer_to_one_that_was_half_read_does_not_say_that_nothing_was_counted(
    db: Database, tmp_path: Path
) -> None:
    def half(used: Config, database: Database, claim: Claim) -> Submitted:
        if claim.internet_message_id == "<2@sender.example>":
            raise TemporaryError("busy", "busy")
        return submit(used, database, claim)

    arrived(db, report_mail(*several(2)))
    now = wall_ms() + 10**9
    for pause in (*PAUSES, 0):
        at = now
        assert runner(db, tmp_path, report=half, clock_ms=lambda at=at: at).run_once()
        now += pause * 1000
    assert len(found(db)) == 1
    assert "Some of it, or all, was not counted" in answers(db)[0]


UNREADABLE = ("application/vnd.ms-outlook", "a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


@pytest.mark.parametrize("attached", [(), (UNREADABLE,)])
def test_a_mail_that_reports_nothing_and_is_not_answered_is_left_for_a_person(
    db: Database, tmp_path: Path, attached: tuple[Attachment, ...]
) -> None:
    silent = {"reports": {"domain": DOMAIN, "answer": False}}
    id = arrived(db, report_mail(*attached, subject="Is this the right address?"))
    assert runner(db, tmp_path, tables=silent).run_once()
    (item,) = quarantine.list_quarantine(db).items
    assert (item.id, item.state.value) == (id, "held")
    assert item.reason == "user_report_left"
    assert "nobody was told" in item.copies[0].reason
    assert quarantine.body(db, id)
    assert not runner(db, tmp_path, tables=silent).run_once(), "it is no report any more"
    assert audit(db, wall_ms()).disagreements == ()


def test_what_a_program_sends_with_nothing_attached_goes(db: Database, tmp_path: Path) -> None:
    id = arrived(db, report_mail(more="Auto-Submitted: auto-replied\r\n"))
    runner(db, tmp_path).run_once()
    assert outcome(db, id)[0] == "deleted"


def test_one_that_is_given_up_and_cannot_be_answered_is_left_for_a_person(db: Database, tmp_path: Path) -> None:
    id, now = arrived(db, report_mail(sender="boss@example.org")), wall_ms() + 10**9
    broken = Broken(TemporaryError("no process", "broken"))
    for pause in (*PAUSES, 0):
        at = now
        assert runner(db, tmp_path, unpacker=broken, clock_ms=lambda at=at: at).run_once()
        now += pause * 1000
    (item,) = quarantine.list_quarantine(db).items
    why = item.copies[0].reason.partition(":")[0]
    assert (item.id, item.state.value, why) == (id, "held", "given up after 8 attempts")


@pytest.mark.parametrize("end", ["release", "delete", "expire"])
def test_what_a_person_does_with_it_while_it_is_read_stands(db: Database, tmp_path: Path, end: str) -> None:
    ours = delivered(db)
    id = arrived(db, report_mail(FORMS["rfc822"](spam(1))))

    class Meanwhile(Here):
        def unpack(self, octets: bytes) -> Unpacked:
            if end == "release":
                quarantine.release(db, id, None, "admin", ["admin@example.org"])
            elif end == "delete":
                quarantine.delete(db, id, "admin")
            else:
                quarantine.expire(db, 10**13)
            return super().unpack(octets)

    assert runner(db, tmp_path, unpacker=Meanwhile()).run_once()
    assert [report.message_id for report in found(db)] == [ours]
    assert len(answers(db)) == (end == "release"), "only who ends the copy answers"
    assert outcome(db, id)[0] == {"release": "deleted", "delete": "deleted", "expire": "expired"}[end]
    assert audit(db, wall_ms()).disagreements == ()


def test_octets_in_a_file_go_with_the_report(db: Database, tmp_path: Path) -> None:
    large = spam(1, text=base64.b64encode(os.urandom(1_500_000)).decode())
    arrived(db, report_mail(FORMS["eml"](large)))
    assert list(files(db))
    runner(db, tmp_path).run_once()
    assert list(files(db)) == []
