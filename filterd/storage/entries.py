"""Owns the rows that one message writes: begun, ended, and held; and the rule that they must agree before they are written.

Must not know transactions, threads or files.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, and_, insert
from sqlalchemy.dialects import postgresql, sqlite

from filterd.errors import StorageError
from filterd.ports import EvidenceRecord, HeldMessage, MessageRecord, Outcome, TerminalState
from filterd.storage.bodies import StoredBody
from filterd.storage.schema import evidence as evidence_table
from filterd.storage.schema import ledger, messages, outbox, quarantine, quarantine_bodies, quarantine_copies
from filterd.storage.text import clean as clean

CUSTODY = "filterd"  # who changed a row, when no person did


def _upsert(dialect: Any) -> Any:
    statement = dialect.insert(messages)
    new = statement.excluded
    statement = statement.execution_options(preserve_rowcount=True)  # else only some drivers tell it for INSERT
    return statement.on_conflict_do_update(
        index_elements=[messages.c.id],
        set_={name: new[name] for name in ("recipients", "size", "header_from", "subject", "message_id", "closed")},
        # Only the message that was begun under this id; another one with the same id must not disappear in it.
        where=and_(messages.c.worker == new.worker, messages.c.received_ms == new.received_ms),
    )


_UPSERT_MESSAGE = {"sqlite": _upsert(sqlite), "postgresql": _upsert(postgresql)}


class Into(IntEnum):
    """Where a row goes, in the order in which foreign keys want it."""

    BEGUN = 0
    ENDED = 1
    LEDGER = 2
    EVIDENCE = 3
    QUARANTINE = 4
    COPIES = 5
    BODIES = 6
    OUTBOX = 7


Rows = dict[Into, list[dict[str, Any]]]

_INSERT = {
    Into.BEGUN: insert(messages),
    Into.LEDGER: insert(ledger),
    Into.EVIDENCE: insert(evidence_table),
    Into.QUARANTINE: insert(quarantine),
    Into.COPIES: insert(quarantine_copies),
    Into.BODIES: insert(quarantine_bodies),
    Into.OUTBOX: insert(outbox),
}


@dataclass(frozen=True, slots=True)
class Ending:
    """Everything that finish() writes for one message; made by `ending`, which has checked that it agrees."""

    message: MessageRecord
    outcomes: tuple[Outcome, ...]
    evidence: EvidenceRecord
    held: HeldMessage | None


def ending(
    message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord, held: HeldMessage | None
) -> Ending:
    """The ending, when it leaves no recipient without an end and no quarantined one without a copy.

    Raises StorageError that names the recipient.  A 250 for a message that is in no one's hands would be a lost mail.
    """
    asked = set(message.recipients) or {""}
    ended = {outcome.recipient for outcome in outcomes}
    if len(ended) != len(outcomes):
        raise StorageError(f"{message.id}: two terminal states for one recipient")
    if ended != asked:
        raise StorageError(f"{message.id}: asked for {sorted(asked)}, ended for {sorted(ended)}")
    wanted = {outcome.recipient for outcome in outcomes if outcome.state is TerminalState.QUARANTINED}
    copies = set(held.recipients) if held else set()
    if wanted != copies:
        raise StorageError(f"{message.id}: quarantined for {sorted(wanted)}, copies for {sorted(copies)}")
    if held and not held.retry <= copies:
        raise StorageError(f"{message.id}: retry for {sorted(held.retry - copies)}, who have no copy")
    return Ending(message, tuple(outcomes), evidence, held)


def rows_begun(message: MessageRecord) -> Rows:
    """The row of a message that is not ended yet."""
    return {Into.BEGUN: [_message_row(message, closed=False)]}


def rows_ended(end: Ending, body: StoredBody | None, at_ms: int) -> Rows:
    """The rows of a message with all its ends."""
    message = end.message
    rows: Rows = {
        Into.ENDED: [_message_row(message, closed=True)],
        Into.LEDGER: [_ledger_row(message.id, outcome, at_ms) for outcome in end.outcomes],
        Into.EVIDENCE: [_evidence_row(message.id, end.evidence)],
    }
    if end.held is not None and body is not None:
        rows |= _rows_held(message, end.held, body, at_ms)
    return rows


def write(connection: Connection, many: Sequence[Rows]) -> None:
    """Insert the rows of many messages, table by table: one statement for each table costs a tenth of one for each row.

    Raises StorageError or what the database raises when any row is refused: an id that is already known, a recipient
    that already has its end.  The caller's transaction must then be undone.
    """
    for into in Into:
        rows = [row for one in many for row in one.get(into, ())]
        if not rows:
            continue
        if into is Into.ENDED:
            if connection.execute(_UPSERT_MESSAGE[connection.dialect.name], rows).rowcount != len(rows):
                raise StorageError(f"{', '.join(row['id'] for row in rows)}: another message already has this id")
        else:
            connection.execute(_INSERT[into], rows)


def _ledger_row(message_id: str, outcome: Outcome, at_ms: int) -> dict[str, Any]:
    recipient = clean(outcome.recipient)
    return {
        "message_id": message_id,
        "recipient": recipient,
        "recipient_key": recipient.lower(),
        "state": outcome.state.value,
        "at_ms": at_ms,
        "reply": clean(outcome.reply),
        "detail": clean(outcome.detail),
    }


def _rows_held(message: MessageRecord, held: HeldMessage, body: StoredBody, at_ms: int) -> Rows:
    reason = clean(held.reason)
    return {
        Into.QUARANTINE: [
            {
                "message_id": message.id,
                "received_ms": message.received_ms,
                "reason": reason,
                "scl": held.scl,
                "score": _finite(held.score),
                "parameters": pack_list(held.parameters),
                "prepended": held.prepended,
                "outbound": held.outbound,
            }
        ],
        Into.COPIES: [
            {
                "message_id": message.id,
                "recipient": clean(recipient),
                "parameters": pack_list(parameters),
                "state": "release requested" if recipient in held.retry else "held",
                "reason": clean(held.reasons.get(recipient, reason)),
                "changed_ms": at_ms,
                "changed_by": CUSTODY,
                "prepended": held.fields.get(recipient),
            }
            for recipient, parameters in held.recipients.items()
        ],
        Into.BODIES: [
            {
                "message_id": message.id,
                "size": body.size,
                "sha256": body.sha256,
                "inline": body.inline,
                "file": body.file,
            }
        ],
        Into.OUTBOX: [
            outbox_row(message.id, clean(recipient), held.recipients[recipient], CUSTODY, at_ms)
            for recipient in sorted(held.retry)
        ],
    }


def outbox_row(
    message_id: str, recipient: str, parameters: Sequence[str], created_by: str, at_ms: int
) -> dict[str, Any]:
    """A new outbox row in state Ready, due at once."""
    return {
        "message_id": message_id,
        "recipient": recipient,
        "parameters": pack_list(parameters),
        "state": "Ready",
        "attempts": 0,
        "next_ms": at_ms,
        "owner": "",
        "lease_ms": 0,
        "last_error": "",
        "last_reply": "",
        "created_ms": at_ms,
        "created_by": created_by,
        "changed_ms": at_ms,
    }


def _message_row(message: MessageRecord, closed: bool) -> dict[str, Any]:
    return {
        "id": message.id,
        "received_ms": message.received_ms,
        "worker": clean(message.worker),
        "listener": clean(message.listener),
        "client_ip": clean(message.client_ip),
        "helo": clean(message.helo),
        "mail_from": clean(message.mail_from),
        "recipients": pack_list(tuple(dict.fromkeys(message.recipients)) or ("",)),
        "size": message.size,
        "header_from": clean(message.header_from),
        "subject": clean(message.subject),
        "message_id": clean(message.message_id),
        "closed": closed,
    }


def _evidence_row(message_id: str, record: EvidenceRecord) -> dict[str, Any]:
    plain = {"verdicts": record.verdicts, "evidence": record.evidence, "extra": record.extra}
    return {
        "message_id": message_id,
        "version": record.version,
        "action": clean(record.action),
        "scl": record.scl,
        "score": _finite(record.score),
        "probability": _finite(record.probability),
        "model": clean(record.model),
        # About 3 KB of JSON for each message, for weeks: level 1 makes 0.8 KB of it in 40 us.
        "record": zlib.compress(json.dumps(plain, separators=(",", ":"), default=str).encode(), 1),
        "features": record.features,
    }


def unpack_evidence(row: Any) -> EvidenceRecord:
    """The record that `_evidence_row` wrote."""
    plain = json.loads(zlib.decompress(row.record))
    return EvidenceRecord(
        action=row.action,
        scl=row.scl,
        score=row.score,
        probability=row.probability,
        verdicts=plain["verdicts"],
        evidence=plain["evidence"],
        model=row.model,
        features=bytes(row.features),
        version=row.version,
        extra=plain["extra"],
    )


def pack_list(texts: Sequence[str]) -> str:
    """A JSON list for a text column."""
    return json.dumps([clean(text) for text in texts], ensure_ascii=False, separators=(",", ":"))


def unpack_list(text: str) -> tuple[str, ...]:
    """What pack_list wrote."""
    return tuple(str(item) for item in json.loads(text))


def _finite(number: float) -> float:
    return number if math.isfinite(number) else 0.0
