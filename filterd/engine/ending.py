"""Owns how a transaction ends: one reply for all recipients, the hand-over or refusal behind it, and the record of both.

Must not know SMTP's order of commands, nor which checks found what.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from filterd import metrics
from filterd.auth.arc import chain_of
from filterd.auth.seal import seal
from filterd.engine.handoff import HandOff, count, failure_reply
from filterd.engine.job import Job
from filterd.engine.journal import Transaction, evidence_of, log_end, message_record, refusal_state, who
from filterd.engine.marks import Marks, marks_of
from filterd.engine.sender_rows import HYBRID_ROW, log_hybrid
from filterd.engine.shared import Engine
from filterd.errors import FilterdError
from filterd.lookups import Lookups
from filterd.mail.authres import authentication_results, results_text
from filterd.mail.envelope import Connection, Recipient, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result
from filterd.mail.headers import organization_scl, prepended, received, remove_forged, report, utc
from filterd.mail.message import Message
from filterd.mail.received_spf import received_spf
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action, Verdict
from filterd.ports import EvidenceRecord, Outcome, TerminalState

log = logging.getLogger(__name__)

Verdicts = Sequence[tuple[Recipient, Verdict]]

_SPF = ("spf", "spf_helo")
_NO_EVIDENCE = EvidenceRecord("defer", 0, 0.0, 0.5, [], [])


@dataclass(frozen=True, slots=True)
class Ending:
    """One transaction that ends now.

    Attributes:
        of_client: what was found before MAIL.
        now: what the transaction has gathered.
        client_lookups: what was asked of DNS before MAIL.
    """

    engine: Engine
    connection: Connection
    of_client: tuple[Evidence, ...]
    now: Transaction
    client_lookups: Lookups | None = None

    async def carry_out(self, message: Message, verdicts: Verdicts) -> Reply:
        """Do what was decided; the reply at end-of-data."""
        now = self.now
        for _, verdict in verdicts:
            metrics.VERDICTS.labels(verdict.action.value).inc()
        deferred = next((v for _, v in verdicts if v.action is Action.DEFER), None)
        final = [v for _, v in verdicts if v.action in (Action.REJECT, Action.DISCONNECT)]
        now.verdicts += [(str(r.mailbox), v) for r, v in verdicts]
        hybrid = next((v for _, v in verdicts if v.row == HYBRID_ROW), None)
        if hybrid is not None:
            log_hybrid(who(now, self.connection), hybrid)
        # Mail of our own Exchange is never held: what is refused to one is refused to all, and Exchange tells its user.
        if deferred is not None or len(final) == len(verdicts) or (final and self._is_outbound):
            refusing = deferred or final[0]
            reply = (refusing.reply or Reply(550, "5.7.1", "Message refused")).with_reference(now.envelope.id)
            answer = await self.refuse_all(message, reply, refusing.row, verdicts)
            self._note_dmarc(message, answer, verdicts)
            self._note_campaign(message, answer, verdicts)
            return answer
        if self._waits_for_key(message, verdicts):
            metrics.OUTBOUND_SIGNED.labels("key_unusable").inc()
            reply = failure_reply("signing_key", now.envelope.id)
            return await self.refuse_all(message, reply, "signing_key")
        reply = await self._handoff.run(self._job(message, verdicts, await self._sealed(message)))
        try:
            self._note_dmarc(message, reply, verdicts)
            self._note_campaign(message, reply, verdicts)
            self._note_sender(reply, verdicts)
            self._note_correspondents(message, reply)
            log_end(now, self.connection, reply, verdicts)
        except Exception:  # custody has ended: another reply would be a lie, and make a duplicate
            log.exception("engine failed after the hand-over", extra={"id": now.envelope.id})
        return reply

    async def refuse_all(self, message: Message, reply: Reply, row: str, verdicts: Verdicts = ()) -> Reply:
        """The same refusal for every recipient; nobody gets a copy."""
        state = refusal_state(reply)
        outcomes = [Outcome(str(r.mailbox), state, str(reply), row) for r in self.now.envelope.recipients]
        await self._record(outcomes, message)
        log_end(self.now, self.connection, reply, verdicts, row)
        return reply

    async def abort(self) -> None:
        """The client gave up before end-of-data."""
        now = self.now
        names = dict.fromkeys(str(r.mailbox) for r in now.accepted.values())
        aborted = [
            Outcome(name, TerminalState.ABORTED, "", "no end-of-data: the client gave up")
            for name in names
            if name not in now.refused
        ]
        await self._record(aborted, None)

    async def fail(self) -> Reply:
        """A fault of ours: the message stays with the client (FAILURE row "engine")."""
        now = self.now
        reply = failure_reply("engine", now.envelope.id)
        outcomes = [
            Outcome(str(r.mailbox), TerminalState.DEFERRED, str(reply), "engine failed")
            for r in now.envelope.recipients
        ]
        record = message_record(now, self.connection, self.engine.worker, None)
        await self.engine.handoff.record(record, [*now.refused.values(), *outcomes], _NO_EVIDENCE)
        return reply

    # ------------------------------------------------------------ inside

    @property
    def _is_outbound(self) -> bool:
        return self.connection.trust is TrustClass.OUTBOUND

    def _waits_for_key(self, message: Message, verdicts: Verdicts) -> bool:
        """Whether it would leave without the signature that the world may ask for.  While observing nothing is deferred."""
        outbound = self.engine.outbound
        if not self._is_outbound or outbound is None or self.engine.policy.config.observe:
            return False
        leaves = any(v.action in (Action.ACCEPT, Action.TAG) for _, v in verdicts)
        return leaves and outbound.lacks_key(message)

    @property
    def _handoff(self) -> HandOff:
        if not self._is_outbound:
            return self.engine.handoff
        if self.engine.outbound is None:  # Exchange would only send it here again
            raise FilterdError(
                "mail for the world, and no next mail server that can be used: the log says why where this process began"
            )
        return self.engine.outbound.handoff

    def _job(self, message: Message, verdicts: Verdicts, sealed: bytes) -> Job:
        # never 5yz if anybody's policy accepts: a refusal for some becomes their quarantine (facts: exchange.md 9.4)
        forward = [(r, v) for r, v in verdicts if v.action in (Action.ACCEPT, Action.TAG)]
        hold = [(r, v) for r, v in verdicts if v.action not in (Action.ACCEPT, Action.TAG)]
        now, engine, envelope = self.now, self.engine, self.now.envelope
        # What users report is worked on, while the rest waits for a person, who sees the whole under a reason of the rest.
        reasons = {str(r.mailbox): v.reason.value for r, v in hold}
        others = [why for why in reasons.values() if why != Reason.USER_REPORT.value]
        hold_reason = next(iter(others or reasons.values()), "")
        passed = any(v.row == HYBRID_ROW for _, v in forward)
        cleaned = remove_forged(message, engine.authserv_id, cross_premises=passed)
        if cleaned.removed:
            metrics.FORGED_FIELDS.inc(len(cleaned.removed))
        found = (*self.of_client, *now.evidence)
        trace = received(self.connection, envelope, engine.hostname, utc(now.received_ms))
        common = [
            # RFC 7208 9.1: above our own Received
            *(received_spf(self.connection, envelope, e, engine.authserv_id) for e in found if e.check in _SPF),
            trace,
            authentication_results(engine.authserv_id, found),
        ]

        written: dict[Marks, bytes] = {}  # of copies with the same marks the first one's score stands in the report

        def above(verdict: Verdict) -> bytes:
            if self._is_outbound:  # what we found is nobody's to know in the world
                return prepended([sealed, trace], message)
            if verdict.row == HYBRID_ROW:  # passed on as it is, but for the trace that RFC 5321 4.4 asks for
                return prepended([trace], message)
            marks = marks_of(verdict)
            if marks not in written:
                about = report(self.connection, envelope.id, verdict, marks.sfv, marks.category)
                written[marks] = prepended([sealed, *common, about, self._scl(verdict)], message)
            return written[marks]

        forward_prepended = above(forward[0][1]) if forward else b""
        hold_prepended = above((hold or forward)[0][1])
        others_fields = [
            *((r, octets) for r, v in forward if (octets := above(v)) != forward_prepended),
            *((r, octets) for r, v in hold if (octets := above(v)) != hold_prepended),
        ]
        return Job(
            envelope=envelope,
            message=message_record(now, self.connection, engine.worker, message),
            chunks=cleaned.chunks,
            evidence=self._evidence(message),
            forward=tuple(r for r, _ in forward),
            forward_prepended=forward_prepended,
            hold=tuple(r for r, _ in hold),
            hold_prepended=hold_prepended,
            fields={str(r.mailbox): octets for r, octets in others_fields},
            hold_reason=hold_reason,
            hold_reasons={name: why for name, why in reasons.items() if why != hold_reason},
            refused=tuple(now.refused.values()),
        )

    def _scl(self, verdict: Verdict) -> bytes:
        """The field that Exchange believes, where it is to have it.  While observing nothing may happen to mail there either."""
        policy = self.engine.policy
        organization = policy.exchange.scl_mode == "organization" and not policy.config.observe
        return organization_scl(verdict.scl) if organization else b""

    async def _sealed(self, message: Message) -> bytes:
        """An ARC set of our own, where we seal and have looked at the chain; a fault in it costs the seal, not the message.

        For the world our DKIM signatures instead.
        """
        if self._is_outbound and self.engine.outbound is not None:
            return await self.engine.outbound.signatures(message, int(self.engine.clock()))
        signer, chain = self.engine.signer, chain_of(message)
        if signer is None or chain is None:
            return b""
        results = results_text(self.engine.authserv_id, (*self.of_client, *self.now.evidence))
        try:
            return await seal(message, signer, results, chain, int(self.engine.clock()))
        except Exception:  # counted like a check that crashed
            log.exception("cannot seal", extra={"id": self.now.envelope.id})
            metrics.CHECK_FAILURES.labels("seal", "crashed").inc()
            return b""

    def _note_sender(self, reply: Reply, verdicts: Verdicts) -> None:
        """A reverse-path with SPF behind it whose mail everybody gets is a known sender from now on."""
        sender, senders = self.now.envelope.reverse_path, self.engine.senders
        passed = any(e.check == "spf" and e.result is Result.PASS for e in self.now.evidence)
        accepted = all(verdict.would is Action.ACCEPT for _, verdict in verdicts)
        if senders is not None and reply.is_success and sender is not None and passed and accepted:
            senders.note(sender.domain_key)

    def _note_dmarc(self, message: Message, reply: Reply, verdicts: Verdicts) -> None:
        """A message that does not come again is counted for the reports that its author's domain asks for."""
        notes = self.engine.dmarc_notes
        if notes is not None and not reply.is_temporary:
            notes.note(self.connection, self.now.envelope, self.now.evidence, verdicts, message)

    def _note_campaign(self, message: Message, reply: Reply, verdicts: Verdicts) -> None:
        """A message that does not come again is counted with those like it."""
        # A report is none of those that it holds, and our own newsletter is no campaign against us.
        if self.engine.campaign_notes is not None and not self.now.is_for_filterd and not self._is_outbound:
            # a copy for a report address is held in any case, and says nothing about the message
            meant = [(r, v) for r, v in verdicts if v.reason is not Reason.USER_REPORT]
            self.engine.campaign_notes.note(message, self.now.envelope.id, self.now.received_ms, reply, meant)

    def _note_correspondents(self, message: Message, reply: Reply) -> None:
        """Those whom our own people wrote to."""
        if self.engine.correspondents is not None:
            self.engine.correspondents.note(self.connection, self.now.envelope, message, reply)

    async def _record(self, outcomes: Sequence[Outcome], message: Message | None) -> None:
        """Terminal states of copies that nobody took; those refused at RCPT are counted here too."""
        every = [*self.now.refused.values(), *outcomes]
        record = message_record(self.now, self.connection, self.engine.worker, message)
        await self.engine.handoff.record(record, every, self._evidence(message))
        count(every)

    def _evidence(self, message: Message | None) -> EvidenceRecord:
        model = self.engine.model_name()
        policy, trust, user = self.engine.policy, self.connection.trust, self.connection.user
        return evidence_of(self.now, self.of_client, policy, model, message, self.client_lookups, trust, user)
