"""Owns the in-memory double of ports.Custody; it keeps the same contract as the real one (tests/contract/test_custody.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from filterd.errors import StorageError
from filterd.ports import EvidenceRecord, HeldMessage, MessageRecord, Outcome, TerminalState
from filterd.storage.entries import ending
from filterd.storage.recovery import ABORTED_DETAIL


@dataclass(slots=True)
class Kept:
    """What the double knows of one message.

    Attributes:
        body: prepended fields and message, None when nothing is held.
        retry: recipients whose copy the outbox has.
    """

    message: MessageRecord
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    evidence: EvidenceRecord | None = None
    held: HeldMessage | None = None
    body: tuple[bytes, bytes] | None = None

    @property
    def states(self) -> dict[str, TerminalState]:
        """Terminal states by recipient; empty while the message is in work."""
        return {recipient: outcome.state for recipient, outcome in self.outcomes.items()}


class MemoryCustody:
    """A ledger and quarantine in a dictionary.

    Set `failure` to an exception and every following begin and finish raises it and writes nothing.
    """

    def __init__(self) -> None:
        self.messages: dict[str, Kept] = {}
        self.failure: StorageError | None = None

    async def begin(self, message: MessageRecord) -> None:
        """See ports.Custody.begin."""
        self._check()
        if message.id in self.messages:
            raise StorageError(f"{message.id}: already known")
        self.messages[message.id] = Kept(message)

    async def finish(
        self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord, held: HeldMessage | None
    ) -> None:
        """See ports.Custody.finish."""
        end = ending(message, outcomes, evidence, held)
        self._check()
        kept = self.messages.get(message.id)
        if kept is not None:
            same = (kept.message.worker, kept.message.received_ms) == (message.worker, message.received_ms)
            if kept.outcomes or not same:
                raise StorageError(f"{message.id}: has ended, or is another message")
        body = (held.prepended, b"".join(bytes(chunk[:]) for chunk in held.chunks)) if held else None
        self.messages[message.id] = Kept(
            message, {outcome.recipient: outcome for outcome in end.outcomes}, evidence, held, body
        )

    def recover(self, worker_slot: str, boot_id: str) -> list[str]:
        """See SqlCustody.recover."""
        closed = []
        for id, kept in self.messages.items():
            slot, _, boot = kept.message.worker.partition(":")
            if not kept.outcomes and slot == worker_slot and boot != boot_id:
                for recipient in kept.message.recipients or ("",):
                    kept.outcomes[recipient] = Outcome(recipient, TerminalState.ABORTED, "", ABORTED_DETAIL)
                closed.append(id)
        return closed

    def close(self) -> None:
        """Nothing to drain; later calls fail as the real one's do."""
        self.failure = StorageError("storage is shut down", "busy")

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure
