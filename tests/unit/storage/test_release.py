"""Owns the tests of release, delete and expire: once each, all or nothing, never the octets of something under way."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from filterd.errors import PermanentError
from filterd.ports import UPSTREAM_REFUSED, TerminalState
from filterd.storage import outbox, quarantine
from filterd.storage.audit import audit
from filterd.storage.bodies import files
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from filterd.storage.quarantine import delete, expire, release
from tests.support.storage import evidence, held, keep, make_database, message, outcomes, wall_ms

ANNA, BERT = "anna@example.net", "bert@example.net"


def states(db: Database, id: str) -> dict[str, str]:
    item = quarantine.get(db, id)
    assert item is not None
    return {copy.recipient: copy.state.value for copy in item.copies}


@pytest.fixture
def id(db: Database) -> str:
    record = message(ANNA, BERT)
    keep(db, record)
    return record.id


def test_release_of_one(db: Database, id: str) -> None:
    ids = release(db, id, ["ANNA@Example.net"], "admin")
    (item,) = outbox.list_outbox(db)
    assert [item.id] == ids
    assert (item.recipient, item.state, item.created_by) == (ANNA, "Ready", "admin")
    assert (item.mail_from, item.parameters, item.mail_parameters) == (
        "sender@example.org",
        ("NOTIFY=NEVER",),
        ("SIZE=100",),
    )
    assert states(db, id) == {ANNA: "release requested", BERT: "held"}


def test_release_of_all_that_is_held(db: Database, id: str) -> None:
    release(db, id, [ANNA], "admin")
    assert len(release(db, id, None, "admin")) == 1
    assert states(db, id) == {ANNA: "release requested", BERT: "release requested"}


def test_release_to_somebody_else(db: Database, id: str) -> None:
    release(db, id, [], "admin", ["abuse@example.com", "Abuse@example.com"])
    assert [item.recipient for item in outbox.list_outbox(db)] == ["abuse@example.com"]
    assert states(db, id) == {ANNA: "held", BERT: "held"}
    assert audit(db, wall_ms()).clean


@pytest.mark.parametrize(
    ("recipients", "to_other", "field"),
    [
        ([ANNA, "carl@example.net"], (), "recipients"),
        ([], (), "recipients"),
        ([BERT], ("no mailbox",), "to_other"),
        ([BERT], (f"<{ANNA}>",), "to_other"),
        ([], (ANNA,), "to_other"),
        ([], tuple(f"{n}@example.com" for n in range(101)), "to_other"),
    ],
)
def test_a_bad_release_changes_nothing(
    db: Database, id: str, recipients: list[str], to_other: tuple[str, ...], field: str
) -> None:
    with pytest.raises(PermanentError, match=f"^{field}: "):
        release(db, id, recipients, "admin", to_other)
    assert outbox.list_outbox(db) == ()
    assert states(db, id) == {ANNA: "held", BERT: "held"}


def test_nobody_gets_it_twice(db: Database, id: str) -> None:
    release(db, id, [ANNA], "admin", ["abuse@example.com"])
    for recipients, other in (([ANNA], []), ([], ["abuse@example.com"])):
        with pytest.raises(PermanentError):
            release(db, id, recipients, "admin", other)
    assert len(outbox.list_outbox(db)) == 2


def test_nobody_gets_it_twice_from_two_hands_at_once(db: Database, id: str) -> None:
    results: list[Any] = []

    def one() -> None:
        try:
            results.append(release(db, id, None, "admin"))
        except PermanentError as error:
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, list) for result in results) == 1
    assert len(outbox.list_outbox(db)) == 2


def test_release_of_the_unknown(db: Database) -> None:
    with pytest.raises(PermanentError, match=r"^id: "):
        release(db, "X", None, "admin")


def test_delete_keeps_the_record_and_drops_the_octets(db: Database, id: str) -> None:
    delete(db, id, "admin")
    item = quarantine.get(db, id)
    assert item is not None
    assert states(db, id) == {ANNA: "deleted", BERT: "deleted"}
    assert {copy.changed_by for copy in item.copies} == {"admin"}
    assert not item.has_body
    for call in (lambda: delete(db, id, "admin"), lambda: release(db, id, [ANNA], "admin")):
        with pytest.raises(PermanentError):
            call()
    assert audit(db, wall_ms()).clean


def test_delete_does_not_take_the_octets_of_a_release_under_way(db: Database, id: str) -> None:
    (number,) = release(db, id, [ANNA], "admin")
    with pytest.raises(PermanentError, match="outbox"):
        delete(db, id, "admin")
    outbox.remove(db, number, "admin")
    delete(db, id, "admin")
    assert states(db, id) == {ANNA: "deleted", BERT: "deleted"}


def test_delete_removes_files(tmp_path: Any) -> None:
    db = make_database(tmp_path, inline_bytes=0)
    record = message()
    keep(db, record)
    assert len(list(files(db))) == 1
    delete(db, record.id, "admin")
    assert list(files(db)) == []


def test_expire_takes_the_old_and_waits_for_the_released(db: Database) -> None:
    old, new, under_way, done = (message(received_ms=ms) for ms in (1000, 9000, 1000, 1000))
    keep(db, old, new, under_way, done)
    release(db, done.id, None, "admin")
    item = outbox.claim(db, wall_ms(), "me", 60)
    assert item is not None
    outbox.delivered(db, item.id, "250 OK")
    release(db, under_way.id, None, "admin")

    assert expire(db, 5000) == 2
    assert states(db, old.id) == {ANNA: "expired"}
    assert states(db, new.id) == {ANNA: "held"}
    assert states(db, under_way.id) == {ANNA: "release requested"}
    assert states(db, done.id) == {ANNA: "released"}
    bodies = {}
    for record in (old, new, under_way, done):
        kept = quarantine.get(db, record.id)
        bodies[record.id] = kept is not None and kept.has_body
    assert bodies == {old.id: False, new.id: True, under_way.id: True, done.id: False}
    assert expire(db, 5000) == 0
    assert audit(db, wall_ms()).clean


def test_what_upstream_refused_never_expires_and_goes_once_it_was_delivered(db: Database) -> None:
    """The sender was told 250.  What the outbox has delivered must not fill the disk for ever."""
    waits, comes = message(ANNA, BERT, received_ms=1000), message(ANNA, received_ms=1000)
    custody = SqlCustody(db)
    for record, retry in ((waits, [ANNA]), (comes, [ANNA])):
        box = replace(held(record, retry=retry), reason=UPSTREAM_REFUSED)
        asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), box))
    custody.close()
    assert expire(db, 5000) == 0, "it is being delivered"
    while (item := outbox.claim(db, wall_ms(), "me", 60)) is not None:
        outbox.delivered(db, item.id, "250 OK")
    assert expire(db, 5000) == 1
    assert states(db, waits.id) == {ANNA: "released", BERT: "held"}
    assert states(db, comes.id) == {ANNA: "released"}
    has_body = {item.id: item.has_body for record in (waits, comes) if (item := quarantine.get(db, record.id))}
    assert has_body == {waits.id: True, comes.id: False}
    assert expire(db, 5000) == 0
    assert audit(db, wall_ms()).clean


def test_expire_of_many_goes_in_steps(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.storage.release._EXPIRE_BATCH", 2)
    keep(db, *(message() for _ in range(5)))
    assert expire(db, wall_ms() * 2) == 5


REPORTS = "spam@reports.example.org"


def mixed(db: Database, *others: str) -> str:
    """The id of a message of which a report address has a copy."""
    record = message(REPORTS, *others)
    box = replace(held(record), reason="looks_like_spam", reasons={REPORTS: "user_report"})
    custody = SqlCustody(db)
    try:
        asyncio.run(custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), box))
    finally:
        custody.close()
    return record.id


def test_a_report_to_us_is_not_released_with_the_copies_of_people(db: Database) -> None:
    id = mixed(db, "bob@example.org")
    release(db, id, None, "admin")
    assert states(db, id) == {"bob@example.org": "release requested", REPORTS: "held"}
    with pytest.raises(
        PermanentError,
        match=r"^recipients: spam@reports\.example\.org is where users report mail.* to another mailbox$",
    ):
        release(db, id, [REPORTS], "admin")
    with pytest.raises(PermanentError, match=r"^recipients: no copy is held"):
        release(db, mixed(db), None, "admin")


def test_a_report_to_us_outlives_the_copies_of_people_and_goes_when_it_is_meant(db: Database) -> None:
    id = mixed(db, "bob@example.org")
    delete(db, id, "admin")
    assert states(db, id) == {"bob@example.org": "deleted", REPORTS: "held"}
    assert quarantine.body(db, id)
    delete(db, id, "admin")
    assert states(db, id)[REPORTS] == "deleted"
    with pytest.raises(PermanentError):
        quarantine.body(db, id)
    assert audit(db, 2 * 10**12).disagreements == ()
