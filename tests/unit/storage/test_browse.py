"""Owns the tests of looking at the quarantine: filters, pages, octets."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from filterd.errors import PermanentError, StorageError
from filterd.ports import TerminalState
from filterd.storage import quarantine
from filterd.storage.database import Database
from filterd.storage.quarantine import CopyState, get, list_quarantine
from filterd.storage.schema import quarantine_bodies
from tests.support.storage import BODY, PREPENDED, keep, message


def test_an_item_shows_what_an_administrator_needs(db: Database) -> None:
    record = message("anna@example.net", "bert@example.net")
    keep(db, record)
    item = get(db, record.id)
    assert item is not None
    assert (item.mail_from, item.header_from, item.subject) == ("sender@example.org", "<author@example.org>", "offer")
    assert (item.client_ip, item.helo, item.listener) == ("192.0.2.1", "client.example.org", "internet")
    assert (item.message_id, item.received_ms) == ("<1@example.org>", record.received_ms)
    assert (item.reason, item.scl, item.score) == ("spam", 6, 4.5)
    assert (item.parameters, item.size, item.has_body) == (("SIZE=100",), len(BODY), True)
    assert [(c.recipient, c.state, c.parameters) for c in item.copies] == [
        ("anna@example.net", CopyState.HELD, ("NOTIFY=NEVER",)),
        ("bert@example.net", CopyState.HELD, ("NOTIFY=NEVER",)),
    ]
    assert item.state is CopyState.HELD


def test_octets(db: Database) -> None:
    record = message()
    keep(db, record)
    assert quarantine.body(db, record.id) == BODY
    assert quarantine.prepended(db, record.id) == PREPENDED


def test_what_is_not_there(db: Database) -> None:
    assert get(db, "X") is None
    for read in (quarantine.body, quarantine.prepended):
        with pytest.raises(PermanentError, match=r"^id: "):
            read(db, "X")


def test_changed_octets_are_never_handed_out(db: Database) -> None:
    record = message()
    keep(db, record)
    with db.write() as connection:
        connection.execute(update(quarantine_bodies).values(sha256="0" * 64))
    with pytest.raises(StorageError, match="damaged"):
        quarantine.body(db, record.id)


def test_forwarded_mail_is_not_in_it(db: Database) -> None:
    keep(db, message(), state=TerminalState.FORWARDED)
    assert list_quarantine(db).items == ()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "abc"),
        ({"recipient": "ANNA@example.net"}, "ab"),
        ({"recipient": "anna"}, ""),
        ({"sender": "SHOP.example"}, "b"),
        ({"sender": "author@"}, "abc"),
        ({"subject": "ärger"}, "b"),
        ({"subject": "100%"}, "c"),
        ({"subject": "1_0"}, ""),
        ({"text": "Carl@"}, "c"),
        ({"text": "<b@x>"}, "b"),
        ({"text": "ÄRGER"}, "b"),
        ({"state": "held"}, "ab"),
        ({"state": "release requested"}, "c"),
        ({"state": "held", "recipient": "carl@example.net"}, ""),
        ({"state": "denied"}, ""),
        ({"since_ms": 2000}, "bc"),
        ({"until_ms": 2000}, "a"),
        ({"since_ms": 2000, "until_ms": 3000, "text": "Ärger"}, "b"),
        ({"text": "'; DROP TABLE messages; --"}, ""),
    ],
)
def test_filters(db: Database, filters: dict[str, Any], found: str) -> None:
    a = message("anna@example.net", received_ms=1000, message_id="<a@x>")
    b = message(
        "anna@example.net", received_ms=2000, message_id="<b@x>", mail_from="x@shop.example", subject="ÄRGER und Frust"
    )
    c = message("carl@example.net", received_ms=3000, message_id="<c@x>", subject="100% gratis")
    keep(db, a, b)
    keep(db, c, retry=["carl@example.net"])
    names = {a.id: "a", b.id: "b", c.id: "c"}
    page = list_quarantine(db, **filters)
    assert "".join(sorted(names[item.id] for item in page.items)) == found
    assert page.next_cursor is None


def test_pages_newest_first_also_while_mail_comes_in(db: Database) -> None:
    records = [message(received_ms=5000 + number // 2) for number in range(7)]  # two share each millisecond
    keep(db, *records)
    seen: list[str] = []
    cursor = None
    while True:
        page = list_quarantine(db, limit=3, cursor=cursor)
        seen += [item.id for item in page.items]
        keep(db, message(received_ms=6000))
        cursor = page.next_cursor
        if cursor is None:
            break
    expected = sorted(records, key=lambda record: (record.received_ms, record.id), reverse=True)
    assert seen == [record.id for record in expected]


@pytest.mark.parametrize(
    "bad",
    [
        {"limit": 0},
        {"limit": 1001},
        {"cursor": "x"},
        {"cursor": "1"},
        {"cursor": "²." + "9" * 99},
        {"state": "pending"},
    ],
)
def test_bad_questions_name_the_field(db: Database, bad: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match=f"^{next(iter(bad))}: "):
        list_quarantine(db, **bad)
