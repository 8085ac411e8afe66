"""Owns what we know of a message that somebody reports: our record of it, and whether a copy of it reached them.

Must not know what a report is worth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from filterd.ports import USER, TerminalState
from filterd.storage.browse import CopyState
from filterd.storage.database import Database
from filterd.storage.entries import unpack_evidence
from filterd.storage.outbox import QueueState
from filterd.storage.schema import campaign_members, evidence, ledger, messages, outbox, quarantine_copies

# Messages of one Message-ID that are looked at: those to the reporter, then the newest.  One mail to many is a few transactions.
CANDIDATES = 20
_LOOKED_AT = 1_000  # the newest of one name, of which those to the reporter are picked; more is somebody's game
_PAGE = 500
MAX_NAME = 998  # octets of a line (RFC 5322 2.1.1); a longer Message-ID names nothing
_KEPT = 500  # characters of it in our record (engine/journal.py)
_m, _e = messages.c, evidence.c


@dataclass(frozen=True, slots=True)
class Known:
    """Our record of a message.

    Attributes:
        name: its Message-ID field.
        action: of the verdict; empty when there is no evidence, or no longer.
        features: what the verdict was made from; empty like that.
        delivered: whether a copy for the reporter was forwarded or released.
        spoofed: whether its author claims a domain of ours with nothing behind it.
        login: who was logged in when it came; empty for nobody, and where there is no evidence.
    """

    message_id: str
    mail_from: str
    header_from: str
    subject: str
    name: str
    action: str
    features: bytes
    delivered: bool
    spoofed: bool
    campaign: str | None
    login: str = ""


def by_id(db: Database, id: str, reporter: str) -> Known | None:
    """The message with our id, or None.  `reporter`: mailbox in lower case."""
    with db.read() as connection:
        found = _known(connection, [id], reporter)
    return found[0] if found else None


def by_name(db: Database, name: str, reporter: str) -> list[Known]:
    """At most CANDIDATES messages with that Message-ID, with or without its angle brackets; newest first.

    Where there are more, those that were sent to the reporter come first.
    """
    bare = name.strip().removeprefix("<").removesuffix(">")
    if not bare or len(bare) > MAX_NAME:
        return []
    kept = name.strip()[:_KEPT]  # as it stands: what follows the brackets, or has lost them, is somebody's game
    query = (
        select(_m.id).where(_m.message_id.in_((f"<{bare}>", bare, kept))).order_by(_m.received_ms.desc(), _m.id.desc())
    )
    with db.read() as connection:
        ids = list(connection.scalars(query.limit(_LOOKED_AT)))
        if len(ids) > CANDIDATES:
            # Who sends one mail to all of us, each in a transaction of its own under one name, must not hide whose copy it was.
            asked = ledger.c.recipient_key == reporter
            mine: set[str] = set()
            for at in range(0, len(ids), _PAGE):
                query = select(ledger.c.message_id).where(ledger.c.message_id.in_(ids[at : at + _PAGE]), asked)
                mine.update(connection.scalars(query))
            ids = sorted(ids, key=lambda id: id not in mine)[:CANDIDATES]
        return _known(connection, ids, reporter)


def _known(connection: Connection, ids: Sequence[str], reporter: str) -> list[Known]:
    query = (
        select(_m.id, _m.mail_from, _m.header_from, _m.subject, _m.message_id.label("name"), evidence)
        .select_from(messages.outerjoin(evidence))
        .where(_m.id.in_(ids))
    )
    members = select(campaign_members.c.message_id, campaign_members.c.campaign)
    campaigns = {
        row.message_id: row.campaign
        for row in connection.execute(members.where(campaign_members.c.message_id.in_(ids)))
    }
    reached = _reached(connection, ids)
    found = {
        row.id: Known(
            message_id=row.id,
            mail_from=row.mail_from,
            header_from=row.header_from,
            subject=row.subject,
            name=row.name,
            action=row.action or "",
            features=bytes(row.features or b""),
            delivered=reporter in reached[row.id],
            campaign=campaigns.get(row.id),
            **_sender(row),
        )
        for row in connection.execute(query)
    }
    return [found[id] for id in ids if id in found]


def _reached(connection: Connection, ids: Sequence[str]) -> defaultdict[str, set[str]]:
    """Who got a copy of which message: forwarded, or released from the quarantine, be it to somebody else."""
    copies = quarantine_copies.c
    queries = (
        (ledger, ledger.c.state == TerminalState.FORWARDED),
        (quarantine_copies, copies.state.in_((CopyState.RELEASED, CopyState.RELEASE_REQUESTED))),
        (outbox, outbox.c.state == QueueState.DELIVERED),
    )
    found: defaultdict[str, set[str]] = defaultdict(set)
    for table, reached in queries:
        query = select(table.c.message_id, table.c.recipient).where(table.c.message_id.in_(ids), reached)
        for row in connection.execute(query):
            found[row.message_id].add(row.recipient.lower())
    return found


def _sender(row: Any) -> dict[str, Any]:
    """What the evidence says of who sent it."""
    if row.record is None:
        return {"spoofed": False}
    found = unpack_evidence(row)
    spoofed = any(item.get("check") == "spoof" and item.get("result") == "fail" for item in found.evidence)
    return {"spoofed": spoofed, "login": str(found.extra.get(USER, ""))}
