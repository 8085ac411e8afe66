"""Owns how the labelled mail of a running filterd is read: its corpus ledger, with the features or octets that are left.

Only what counts is read (filterd/storage/examples.py): reports that are not held, and what was deleted as spam or released as a
false positive, one of each campaign.  Must not know how anything is learned; writes nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select

from filterd.classifier.features import Indices, from_octets
from filterd.classifier.stream import ConnectionFacts
from filterd.config import load_config
from filterd.errors import PermanentError
from filterd.storage.database import Database, open_database
from filterd.storage.examples import Example, examples, position
from filterd.storage.quarantine import body
from filterd.storage.reports import Label
from filterd.storage.schema import messages, quarantine_bodies, reports
from training.dates import iso
from training.readers import Item

FOLDER = "quarantine"  # the top-level folder of its messages in tables and figures
_PAGE = 500


class Found(NamedTuple):
    """What the ledger has.

    Attributes:
        items: labelled messages, oldest first.
        position: last report that was looked at.
        left_out: how many were stored by an older version, with features that mean other things now, and have no octets.
    """

    items: list[Item]
    position: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Stored:
    """One message of the ledger.

    Attributes:
        config: path of the configuration file, for the processes that decode.
        report: id of the report.
        message: our id of the message, when its octets are needed; empty when its features serve.
        digest: start of the SHA-256 of what is kept of it.
    """

    config: Path
    report: int
    message: str
    digest: str

    def octets(self) -> bytes:
        """The message as it lies in the quarantine.  Raises PermanentError when it is gone, StorageError when it is damaged."""
        return body(_database(self.config), self.message)

    def features(self) -> Indices | None:
        """Those of the report, when they are of this version.  Raises StorageError."""
        with _database(self.config).read() as connection:
            found = connection.scalar(select(reports.c.features).where(reports.c.id == self.report))
        if found is None:
            raise PermanentError(f"report {self.report} is gone")
        return from_octets(bytes(found))

    def stamp(self) -> str:
        """The digest of what is kept."""
        return self.digest


def read_quarantine(config: Path, upto: int | None = None) -> Found:
    """The labelled messages of the filterd with that configuration file, of reports up to `upto` (default: all).

    Raises ConfigError, StorageError.
    """
    database = _database(config)
    reached = position(database) if upto is None else upto
    items: list[Item] = []
    left_out = 0
    page: list[tuple[Example, Stored]] = []
    for example in examples(database, reached, load_config(config).learning.agreement):
        known = from_octets(example.features) is not None
        digest = hashlib.sha256(example.features).hexdigest()[:16]
        stored = Stored(config, example.report_id, "" if known else example.message_id or "-", digest)
        page.append((example, stored))
        if len(page) == _PAGE:
            left_out += _append(database, items, page)
            page = []
    left_out += _append(database, items, page)
    return Found(items, reached, left_out)


def _append(database: Database, items: list[Item], page: list[tuple[Example, Stored]]) -> int:
    """Add a page of examples with what the trace says of their messages; how many cannot be read any more."""
    ids = [example.message_id for example, _ in page if example.message_id is not None]
    with database.read() as connection:
        columns = (messages.c.id, messages.c.received_ms, messages.c.client_ip, messages.c.helo, messages.c.mail_from)
        traced = {row.id: row for row in connection.execute(select(*columns).where(messages.c.id.in_(ids)))}
        held = set(
            connection.scalars(select(quarantine_bodies.c.message_id).where(quarantine_bodies.c.message_id.in_(ids)))
        )
    left_out = 0
    for example, stored in page:
        if stored.message and stored.message not in held:
            left_out += 1
            continue
        row = traced.get(example.message_id or "")
        facts = ConnectionFacts(row.client_ip, row.helo, "", row.mail_from) if row is not None else None
        date = iso((row.received_ms if row is not None else example.created_ms) // 1000)
        name = f"{FOLDER}/{example.message_id or f'report-{stored.report}'}"
        items.append(Item(example.label is not Label.HAM, name, stored.config, date, facts, source=stored))
    return left_out


@lru_cache(maxsize=1)
def _database(config: Path) -> Database:
    return open_database(load_config(config))
