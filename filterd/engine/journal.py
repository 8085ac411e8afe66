"""Owns what a mail transaction has gathered, and how it is written down: records for the ledger, lines for the log.

Must not know what is asked when, nor SQL.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from filterd.engine.policy import Policy, decide
from filterd.engine.record import evidence_record
from filterd.lookups import Lookups
from filterd.mail.envelope import Connection, Envelope, Recipient, TrustClass
from filterd.mail.evidence import Evidence, Reason, Stage
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.mail.verdict import Verdict
from filterd.ports import EvidenceRecord, MessageRecord, Outcome, TerminalState

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Transaction:
    """What a mail transaction has gathered.

    Attributes:
        evidence: about the transaction; what was found about one recipient stands in `of_recipient`, by mailbox.
        accepted: recipients by mailbox, in order; the envelope gets them all at once, at end-of-data.
        refused: outcomes of recipients that were refused, by name; the first refusal counts.
        asked: every mailbox that was asked for.
        lookups: what was asked of DNS since MAIL.
    """

    envelope: Envelope
    received_ms: int
    evidence: list[Evidence] = field(default_factory=list)
    of_recipient: dict[str, list[Evidence]] = field(default_factory=dict)
    accepted: dict[str, Recipient] = field(default_factory=dict)
    refused: dict[str, Outcome] = field(default_factory=dict)
    verdicts: list[tuple[str, Verdict]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    lookups: Lookups = field(default_factory=Lookups)

    def take(self, found: Iterable[Evidence]) -> None:
        """What was found about the message; what concerns one recipient is looked at for him alone."""
        for item in found:
            if item.recipient is None:
                self.evidence.append(item)
            else:
                self.of_recipient.setdefault(item.recipient, []).append(item)

    def refuse(self, name: str, reply: Reply, why: str, verdict: Verdict | None = None) -> None:
        """`name` was told `reply`; said twice, it is one outcome."""
        if name in self.refused:
            return
        self.refused[name] = Outcome(name, refusal_state(reply), str(reply), why)
        if verdict is not None:
            self.verdicts.append((name, verdict))

    @property
    def is_report(self) -> bool:
        """Whether every accepted recipient is an address that users report mail to."""
        found = [self.of_recipient.get(key, ()) for key in self.accepted]
        return bool(found) and all(any(e.reason is Reason.USER_REPORT for e in about) for about in found)

    @property
    def is_receipt(self) -> bool:
        """Whether it is for an address that the receipt for a probe comes to, which is never one of several."""
        return len(self.accepted) == 1 and self.is_for_receipts(next(iter(self.accepted)))

    @property
    def is_for_filterd(self) -> bool:
        """Whether filterd itself reads it, and nobody else gets it."""
        return self.is_report or self.is_receipt

    def is_for_receipts(self, key: str) -> bool:
        """Whether the mailbox is such an address."""
        return any(e.reason is Reason.PROBE_RECEIPT for e in self.of_recipient.get(key, ()))

    def settle(self) -> None:
        """No recipient comes any more.  A mailbox that was refused once and accepted later is accepted."""
        self.envelope = replace(self.envelope, recipients=tuple(self.accepted.values()))
        accepted = {str(recipient.mailbox) for recipient in self.envelope.recipients}
        for name in accepted:
            self.refused.pop(name, None)
        self.verdicts = [(name, verdict) for name, verdict in self.verdicts if name not in accepted]


def refusal_state(reply: Reply) -> TerminalState:
    """How custody ends with a refusal."""
    return TerminalState.DEFERRED if reply.is_temporary else TerminalState.REJECTED


def message_record(now: Transaction, connection: Connection, worker: str, message: Message | None) -> MessageRecord:
    """The message as the ledger knows it; `message` is None when there was no DATA."""
    return MessageRecord(
        id=now.envelope.id,
        received_ms=now.received_ms,
        worker=worker,
        listener=connection.listener,
        client_ip=str(connection.client_ip),
        helo=connection.helo[:255],
        mail_from=now.envelope.mail_from,
        recipients=tuple(dict.fromkeys(now.asked)),
        size=len(message) if message else 0,
        header_from=message.first("from")[:500] if message else "",
        subject=message.subject if message else "",
        message_id=message.first("message-id")[:500] if message else "",
    )


def evidence_of(
    now: Transaction,
    of_client: Iterable[Evidence],
    policy: Policy,
    model: str,
    message: Message | None,
    client_lookups: Lookups | None = None,
    trust: TrustClass = TrustClass.INTERNET,
    user: str = "",
) -> EvidenceRecord:
    """Everything found, of the client, the transaction and its recipients, with the verdicts and what DNS answered.

    `model` is the one in use; a message that was judged just before a promotion has the name of the one that judged it, else the
    watch over the promotion would blame the wrong one.
    """
    verdicts = now.verdicts or [("", decide((), policy, Stage.RCPT))]
    about = (item for found in now.of_recipient.values() for item in found)
    # What we write ourselves is not what comes in: learning, its gate and the watch over drift look at the latter alone.
    incoming = trust is not TrustClass.OUTBOUND
    features = message.views.get("features", b"") if message and incoming else b""
    answers = [*(client_lookups.record() if client_lookups else ()), *now.lookups.record()]
    found = (*of_client, *now.evidence, *about)
    judged = (item.properties.get("model", "") for item in now.evidence if item.check == "content")
    return evidence_record(found, verdicts, features, next(judged, "") or model, answers, policy, trust, user)


def who(now: Transaction, connection: Connection) -> dict[str, str]:
    """What every log line about the transaction has."""
    return {
        "id": now.envelope.id,
        "client": str(connection.client_ip),
        "helo": connection.helo,
        "mail_from": now.envelope.mail_from,
    }


def log_refusal(
    now: Transaction, connection: Connection, recipient: str, reply: Reply, row: str, evidence: Iterable[Evidence]
) -> None:
    """One line for a refused RCPT, with the findings behind it."""
    found = (f"{e.check} {e.reason} {e.log_text}".strip() for e in evidence if e.reason is not Reason.OK)
    extra = {**who(now, connection), "recipient": recipient, "reply": str(reply), "row": row}
    log.info("recipient refused", extra={**extra, "why": "; ".join(found)[:1000]})


def log_end(
    now: Transaction, connection: Connection, reply: Reply, verdicts: Sequence[tuple[Recipient, Verdict]], row: str = ""
) -> None:
    """One line for the end-of-data reply, with the verdict of the highest score; `row`: what the reply follows from, where it is another."""
    extra: dict[str, object] = {**who(now, connection), "reply": str(reply)}
    extra["recipients"] = [str(r.mailbox) for r in now.envelope.recipients]
    if verdicts:
        worst = max((v for _, v in verdicts), key=lambda v: v.millis)
        extra |= {"action": worst.action.value, "scl": worst.scl, "score": worst.score, "row": worst.row}
        extra["unavailable"] = list(worst.unavailable)
    if row:
        extra["row"] = row
    log.info("message", extra=extra)
