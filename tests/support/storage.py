"""Owns short ways to a database and to the values that custody takes.  Not part of the product."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable
from pathlib import Path

from filterd.mail.envelope import new_id
from filterd.ports import EvidenceRecord, HeldMessage, MessageRecord, Outcome, TerminalState
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, prepare
from filterd.storage.schema import metadata
from tests.support.postgres import Postgres

_clock = itertools.count(1_800_000_000_000)
BODY = b"From: <author@example.org>\r\nSubject: offer\r\n\r\nbuy now\r\n"
PREPENDED = b"X-Filterd: spam\r\n"


def make_database(folder: Path, inline_bytes: int = 1_048_576, min_free_bytes: int = 0) -> Database:
    """A migrated SQLite database in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder / 'filterd.db'}"
    return prepare(Database(url, inline_bytes, folder / "quarantine", min_free_bytes, folder))


def message(
    *recipients: str,
    worker: str = "0:boot",
    mail_from: str = "sender@example.org",
    subject: str = "offer",
    received_ms: int | None = None,
    message_id: str = "<1@example.org>",
) -> MessageRecord:
    """A message for these recipients (one, when none is given), each a millisecond newer than the one before."""
    at = next(_clock) if received_ms is None else received_ms
    return MessageRecord(
        id=new_id(at),
        received_ms=at,
        worker=worker,
        listener="internet",
        client_ip="192.0.2.1",
        helo="client.example.org",
        mail_from=mail_from,
        recipients=recipients or ("anna@example.net",),
        size=len(BODY),
        header_from="<author@example.org>",
        subject=subject,
        message_id=message_id,
    )


def outcomes(record: MessageRecord, state: TerminalState = TerminalState.FORWARDED) -> list[Outcome]:
    """The same end for every recipient."""
    return [Outcome(recipient, state, "250 2.6.0 OK", "detail") for recipient in record.recipients]


def evidence(features: bytes = b"\x01\x00\x00\x00") -> EvidenceRecord:
    """A small evidence record."""
    return EvidenceRecord(
        action="quarantine",
        scl=6,
        score=4.5,
        probability=0.98,
        verdicts=[{"recipient": "anna@example.net", "action": "quarantine"}],
        evidence=[{"check": "content", "reason": "looks_like_spam"}],
        model="seed-1",
        features=features,
    )


def held(record: MessageRecord, body: bytes = BODY, retry: Iterable[str] = ()) -> HeldMessage:
    """A held copy for every recipient."""
    return HeldMessage(
        prepended=PREPENDED,
        chunks=[body],
        recipients=dict.fromkeys(record.recipients, ("NOTIFY=NEVER",)),
        reason="spam",
        scl=6,
        score=4.5,
        retry=frozenset(retry),
        parameters=("SIZE=100",),
    )


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def make_postgres(server: Postgres, folder: Path) -> Database:
    """The migrated database that all tests of this process share, as if it were new; what large bodies it has are in `folder`."""
    if server.shared is None:
        with server.connect() as connection:
            modern = connection.info.server_version >= 150_000
        # Another order of texts than Python's and SQLite's, as most servers have it.
        server.shared = server.new_database("LOCALE_PROVIDER icu ICU_LOCALE 'und'" if modern else "")
    else:
        _empty(server, server.shared)
    return prepare(Database(server.url(server.shared), 1_048_576, folder / "quarantine", 0, folder))


def _empty(server: Postgres, name: str) -> None:
    """Remove all rows and count from one again, 10 to 20 ms: to migrate a new database takes a second."""
    tables = [table.name for table in metadata.sorted_tables]
    look = ", ".join(f"EXISTS (SELECT FROM {table})" for table in tables)
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    with server.connect(name) as connection:
        # A test that failed may have left a transaction open, which would hold us up.
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}".encode())
        filled = connection.execute(f"SELECT {look}".encode()).fetchone()
        assert filled is not None
        names = [table for table, found in zip(tables, filled, strict=True) if found]
        if names:
            connection.execute(f"TRUNCATE {', '.join(names)} CASCADE".encode())
        connection.execute(b"SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'")


def keep(
    db: Database, *records: MessageRecord, state: TerminalState = TerminalState.QUARANTINED, retry: Iterable[str] = ()
) -> None:
    """Finish these messages, held when the state is quarantined."""
    custody = SqlCustody(db)

    async def run() -> None:
        for record in records:
            kept = held(record, retry=retry) if state is TerminalState.QUARANTINED else None
            await custody.finish(record, outcomes(record, state), evidence(), kept)

    try:
        asyncio.run(run())
    finally:
        custody.close()
