"""Owns the interface of the ledger and the quarantine, and the values handed to them.  Must not know any implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from filterd.mail.message import Octets


class TerminalState(StrEnum):
    """How the custody of one message for one recipient ended; exactly one of these, once."""

    FORWARDED = "forwarded"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """What the ledger knows of a message from its beginning.

    Attributes:
        id: our id.
        received_ms: Unix time in milliseconds.
        worker: the process that has it, as "slot:boot id".
        recipients: all asked-for mailboxes as text, refused ones too; "" alone when there was none.
        size: octets as received, 0 when there was no DATA.
    """

    id: str
    received_ms: int
    worker: str
    listener: str
    client_ip: str
    helo: str
    mail_from: str
    recipients: tuple[str, ...]
    size: int = 0
    header_from: str = ""
    subject: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of custody for one recipient.

    Attributes:
        recipient: mailbox as text (one of MessageRecord.recipients).
        state: terminal state.
        reply: what the client was told, as one line.
        detail: for the trace: upstream's answer or the decisive reason.
    """

    recipient: str
    state: TerminalState
    reply: str
    detail: str = ""


# HeldMessage.reason of copies that upstream refused while it took others of the same message.
UPSTREAM_REFUSED = "upstream_refused"
# … of copies for the world that the next mail server deferred while it took others; unlike those they expire: the author is told.
OUTBOUND_DEFERRED = "outbound_deferred"


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message to keep in the quarantine.

    Attributes:
        prepended: header fields of ours that go before the message when it is released.
        chunks: the message as it would have been forwarded, without `prepended`.
        recipients: mailbox -> forward-path parameters, for the recipients whose copy is held.
        reason: why, for people (spam, policy, upstream refused …).
        retry: recipients whose copy shall be delivered by the outbox as soon as upstream takes it.
        reasons: recipients whose copy is held for another reason than the rest.
        outbound: mail of our own Exchange: its copies go to the next mail server of [outbound], not to Exchange.
        fields: recipients whose copy has other fields of ours before it than `prepended`.
    """

    prepended: bytes
    chunks: Sequence[Octets]
    recipients: Mapping[str, tuple[str, ...]]
    reason: str
    scl: int
    score: float
    retry: frozenset[str] = frozenset()
    parameters: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    outbound: bool = False
    fields: Mapping[str, bytes] = field(default_factory=dict)


USER = "user"  # in an evidence record's `extra`: who was logged in; not there for nobody


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """The versioned record from which a verdict can be decided again.

    Attributes:
        verdicts: one JSON object per recipient (see engine.record).
        evidence: Evidence.as_dict of everything found.
        features: hashed content features as classifier/features.py stores them, for later training; empty when unknown.
    """

    action: str
    scl: int
    score: float
    probability: float
    verdicts: list[dict[str, Any]]
    evidence: list[dict[str, Any]]
    model: str = ""
    features: bytes = b""
    version: int = 1
    extra: dict[str, Any] = field(default_factory=dict)


class Custody(Protocol):
    """The ledger and the quarantine as the mail path sees them.  Group-committed; every method may be awaited by many."""

    async def begin(self, message: MessageRecord) -> None:
        """Write that we have the message, before the hand-over.  Survives the death of the process.

        Raises StorageFullError or StorageError; then nothing was written.
        """
        ...

    async def finish(
        self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord, held: HeldMessage | None
    ) -> None:
        """Write the terminal state of every recipient, the evidence and, if given, the quarantined message: all or nothing.

        `begin` need not have come before.  With `held`, returns only when everything is durable on disk (fsync).
        Raises StorageFullError or StorageError; then nothing was written.
        """
        ...
