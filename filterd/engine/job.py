"""Owns what the hand-over is given: one message with its decision, and which copies of it travel together.

Must not know how anything is handed over (engine/handoff.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import Octets
from filterd.ports import EvidenceRecord, MessageRecord, Outcome


@dataclass(frozen=True, slots=True)
class Job:
    """One message with its decision.

    Attributes:
        forward: recipients whose copy goes to upstream.
        hold: recipients whose copy goes to the quarantine, with `hold_reason` for people.
        hold_reasons: mailbox -> its own reason, where it is another one.
        forward_prepended, hold_prepended: our header fields for either copy.
        fields: mailbox -> our header fields, where its copy has others.
        refused: outcomes of recipients that were refused at RCPT.
    """

    envelope: Envelope
    message: MessageRecord
    chunks: tuple[Octets, ...]
    evidence: EvidenceRecord
    forward: tuple[Recipient, ...]
    forward_prepended: bytes
    hold: tuple[Recipient, ...]
    hold_prepended: bytes
    hold_reason: str
    refused: tuple[Outcome, ...] = ()
    hold_reasons: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, bytes] = field(default_factory=dict)

    def groups(self) -> list[tuple[bytes, tuple[Recipient, ...]]]:
        """Whose copies are handed over together: those with the same fields above them, in the order of the recipients."""
        found: dict[bytes, list[Recipient]] = {}
        for recipient in self.forward:
            found.setdefault(self.fields.get(str(recipient.mailbox), self.forward_prepended), []).append(recipient)
        return [(prepended, tuple(recipients)) for prepended, recipients in found.items()]
