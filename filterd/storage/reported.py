"""Owns what we know of a message that somebody reports: our record of it, and whether a copy of it reached them.

Must not know what a report is worth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from filterd.ports import TerminalState
from filterd.storage.browse import CopyState
from filterd.storage.database import Database
from filterd.storage.entries import unpack_evidence
from filterd.storage.outbox import QueueState
from filterd.storage.schema import campaign_members, evidence, ledger, messages, outbox, quarantine_copies

# Messages of one Message-ID that are looked at, the newest: one mail to many is a few transactions; more is somebody's game.
CANDIDATES = 20
MAX_NAME = 998  # octets of a line (RFC 5322 2.1.1); a longer Message-ID names nothing
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


def by_id(db: Database, id: str, reporter: str) -> Known | None:
    """The message with our id, or None.  `reporter`: mailbox in lower case."""
    with db.read() as connection:
        found = _known(connection, [id], reporter)
    return found[0] if found else None


def by_name(db: Database, name: str, reporter: str) -> list[Known]:
    """The newest CANDIDATES messages with that Message-ID, with or without its angle brackets; newest first."""
    bare = name.strip().removeprefix("<").removesuffix(">")
    if not bare or len(bare) > MAX_NAME:
        return []
    query = select(_m.id).where(_m.message_id.in_((f"<{bare}>", bare))).order_by(_m.received_ms.desc(), _m.id.desc())
    with db.read() as connection:
        return _known(connection, list(connection.scalars(query.limit(CANDIDATES))), reporter)


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
            spoofed=row.record is not None and _is_spoofed(row),
            campaign=campaigns.get(row.id),
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


def _is_spoofed(row: Any) -> bool:
    found = unpack_evidence(row).evidence
    return any(item.get("check") == "spoof" and item.get("result") == "fail" for item in found)
