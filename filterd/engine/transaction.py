"""Owns one SMTP connection's way through the stages: what is asked when, and the reply that follows.

Early refusals wait until RCPT, so that the log knows the recipient and postmaster stays reachable (RFC 5321 4.5.1).
Must not know sockets, SQL, or any concrete check.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from filterd import metrics
from filterd.checks.base import CheckContext
from filterd.config import ClientsConfig, GreylistConfig
from filterd.engine.handoff import HandOff, Job, count, failure_reply
from filterd.engine.journal import (
    Transaction,
    evidence_of,
    log_end,
    log_refusal,
    message_record,
    refusal_state,
    who,
)
from filterd.engine.pipeline import Pipeline, stage_deadline
from filterd.engine.policy import Policy, decide
from filterd.engine.standing import SenderNotes, greet_seconds, is_doubtful, tarpit_seconds
from filterd.errors import FilterdError
from filterd.mail.address import Mailbox
from filterd.mail.authres import authentication_results
from filterd.mail.envelope import Connection, Envelope, Recipient, TrustClass, new_id
from filterd.mail.evidence import Evidence, Result, Stage
from filterd.mail.headers import header_problem, prepended, received, remove_forged, report, utc
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action, Verdict
from filterd.ports import EvidenceRecord, Outcome, TerminalState

log = logging.getLogger(__name__)

_HEADER_TOO_BIG = Reply(552, "5.3.4", "Header size exceeds fixed maximum size")  # Exchange's words for the same
_KEPT_OF_REFUSED = 16_384  # octets of a refused header section from which author and subject are recorded
_NO_EVIDENCE = EvidenceRecord("defer", 0, 0.0, 0.5, [], [])


@dataclass(slots=True)
class Engine:
    """Everything that all connections of a process share.

    Attributes:
        worker: "slot:boot id" of this process, for the ledger.
        postmaster_domain: where mail to our own postmaster goes, when our hostname is no accepted domain; empty: nowhere.
        header_bytes: largest header section that is passed on.
        model_name: the content model in use, for the record.
        clients, greylist_config: what clients may do, and from where on mail is doubtful.
        senders: notes those whose mail is not greylisted later; None where nobody is greylisted.
        has_room: whether the disk has room for another message.
        clock: Unix seconds.
    """

    pipeline: Pipeline
    policy: Policy
    handoff: HandOff
    hostname: str
    authserv_id: str
    worker: str
    postmaster_domain: str = ""
    header_bytes: int = 262_144
    clients: ClientsConfig = field(default_factory=ClientsConfig)
    greylist_config: GreylistConfig = field(default_factory=GreylistConfig)
    senders: SenderNotes | None = None
    model_name: Callable[[], str] = lambda: ""
    has_room: Callable[[], bool] = lambda: True
    clock: Callable[[], float] = time.time

    async def connect(self, connection: Connection) -> Session:
        """A session whose connect stage has run."""
        metrics.CONNECTIONS.inc()
        session = Session(self, connection)
        session.of_connection = await self.pipeline.run(Stage.CONNECT, session.context(Stage.CONNECT))
        named = next((e for e in session.of_connection if "client_name" in e.properties), None)
        if named is not None and not connection.client_name:
            session.connection = replace(connection, client_name=named.properties["client_name"])
        return session


class Session:
    """Implements what the SMTP front end asks (frontends/smtp/session.py)."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self.engine = engine
        self.connection = connection
        self.greeting: Reply | None = None
        self.of_connection: list[Evidence] = []
        self._of_helo: list[Evidence] = []
        self._now: Transaction | None = None
        self._reference = ""

    @property
    def greet_seconds(self) -> float:
        """How long the banner is held back: for doubtful clients only."""
        return greet_seconds(self.connection, self.of_connection, self.engine.policy, self.engine.clients)

    @property
    def reference(self) -> str:
        """Our id of the transaction that is open or was the last one."""
        return self._reference

    def spoke_early(self, before_greeting: bool) -> None:
        """The client did not wait for the greeting, or for the answer to EHLO."""
        if before_greeting:
            self.connection = replace(self.connection, early=True)
        else:
            self.connection = replace(self.connection, unasked_pipelining=True)

    async def authenticated(self, user: str) -> None:
        """AUTH succeeded: what the client's address told counts no longer, who it is does."""
        await self.reset()
        self.of_connection, self._of_helo = [], []
        self.connection = replace(self.connection, user=user, trust=TrustClass.AUTHENTICATED)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Everything found so far that counts for every recipient."""
        return (*self.of_connection, *self._of_helo, *(self._now.evidence if self._now else ()))

    def _evidence_about(self, recipient: Recipient) -> tuple[Evidence, ...]:
        of_recipient = self._now.of_recipient.get(recipient.mailbox.key, ()) if self._now else ()
        return (*self.evidence, *of_recipient)

    def context(self, stage: Stage, recipient: Recipient | None = None, message: Message | None = None) -> CheckContext:
        """What the checks of `stage` may see."""
        return CheckContext(
            self.connection,
            stage_deadline(stage),
            self.evidence,
            self._now.envelope if self._now else None,
            recipient,
            message,
            doubtful=stage is Stage.RCPT
            and is_doubtful(self.connection, self.evidence, self.engine.policy, self.engine.greylist_config),
        )

    async def secured(self, tls: str) -> None:
        """STARTTLS succeeded: what was said before is forgotten (RFC 3207 4.2)."""
        await self.reset()
        self._of_helo = []
        self.connection = replace(self.connection, helo="", tls=tls)

    async def helo(self, name: str, esmtp: bool) -> Reply:
        """HELO or EHLO; also ends a running transaction (RFC 5321 4.1.4)."""
        await self.reset()
        self.connection = replace(self.connection, helo=name, esmtp=esmtp)
        self._of_helo = []
        self._of_helo = await self.engine.pipeline.run(Stage.HELO, self.context(Stage.HELO))
        return Reply(250, "", self.engine.hostname)

    async def mail(self, reverse_path: Mailbox | None, parameters: tuple[str, ...]) -> Reply:
        """MAIL: a new transaction with an id of its own."""
        await self.reset()
        now_ms = int(self.engine.clock() * 1000)
        self._now = Transaction(Envelope(new_id(now_ms), reverse_path, parameters), now_ms)
        self._reference = self._now.envelope.id
        self._now.evidence += await self.engine.pipeline.run(Stage.MAIL, self.context(Stage.MAIL))
        return Reply(250, "2.1.0", "Sender OK")

    async def rcpt(self, recipient: Recipient) -> Reply:
        """RCPT: the directory is asked and held refusals are told."""
        now = self._transaction()
        recipient = self._our_postmaster(recipient)
        key = recipient.mailbox.key
        if key in now.accepted:
            return Reply(250, "2.1.5", "Recipient OK")  # one mailbox, one copy, however it is spelled
        now.asked.append(str(recipient.mailbox))
        now.of_recipient[key] = await self.engine.pipeline.run(Stage.RCPT, self.context(Stage.RCPT, recipient))
        verdict = self._decide(Stage.RCPT, recipient)
        if verdict.reply is None or verdict.action not in (Action.REJECT, Action.DEFER, Action.DISCONNECT):
            now.accepted.add(key)
            now.envelope = replace(now.envelope, recipients=(*now.envelope.recipients, recipient))
            return Reply(250, "2.1.5", "Recipient OK")
        delay = tarpit_seconds(verdict, now.of_recipient[key], self.engine.clients)
        reply = replace(verdict.reply.with_reference(now.envelope.id), delay_seconds=delay)
        name = str(recipient.mailbox)
        now.refuse(name, reply, verdict.row, verdict)
        metrics.REFUSED_RECIPIENTS.labels(str(reply.code)).inc()
        log_refusal(now, self.connection, name, reply, verdict.row, self._evidence_about(recipient))
        return reply

    async def data_allowed(self) -> Reply | None:
        """Whether the message may come; without room on the disk it would only be refused after it was sent."""
        if self.engine.has_room():
            return None
        now = self._transaction()
        reply = failure_reply("storage_full", now.envelope.id)
        metrics.STORAGE_FAILURES.labels("full").inc()
        told = {**who(now, self.connection), "step": "data", "kind": "full", "reply": str(reply)}
        log.error("storage failed", extra=told)
        for recipient in now.envelope.recipients:
            now.refuse(str(recipient.mailbox), reply, "storage_full")
        return reply

    async def data(self, message: Message, refusal: Reply | None = None) -> Reply:
        """End-of-data: check, decide for each recipient, hand over; one reply for all."""
        now = self._transaction()
        now.settle()
        try:
            if refusal is None and (problem := header_problem(message, self.engine.header_bytes)):
                log.info("header section refused", extra={"id": now.envelope.id, "problem": problem})
                refusal = _HEADER_TOO_BIG
                message = Message(bytes(message.octets[:_KEPT_OF_REFUSED]))
            if refusal is not None:
                return await self._refuse_all(now, message, refusal.with_reference(now.envelope.id))
            now.evidence += await self.engine.pipeline.run(Stage.DATA, self.context(Stage.DATA, message=message))
            verdicts = [(r, self._decide(Stage.DATA, r)) for r in now.envelope.recipients]
            reply = await self._carry_out(now, message, verdicts)
        except Exception:  # a fault of ours must leave the message with the client (FAILURE row "engine")
            log.exception("engine failed", extra={"id": now.envelope.id})
            reply = failure_reply("engine", now.envelope.id)
            outcomes = [
                Outcome(str(r.mailbox), TerminalState.DEFERRED, str(reply), "engine failed")
                for r in now.envelope.recipients
            ]
            record = message_record(now, self.connection, self.engine.worker, None)
            await self.engine.handoff.record(record, [*now.refused.values(), *outcomes], _NO_EVIDENCE)
            return reply
        finally:
            self._now = None
        return reply

    async def reset(self) -> None:
        """RSET, a new MAIL or HELO: a transaction that asked for recipients gets its terminal states."""
        now, self._now = self._now, None
        if now is None or not now.asked:
            return
        names = dict.fromkeys(str(r.mailbox) for r in now.envelope.recipients)
        aborted = [
            Outcome(name, TerminalState.ABORTED, "", "no end-of-data: the client gave up")
            for name in names
            if name not in now.refused
        ]
        await self._record(now, [*now.refused.values(), *aborted], None)

    async def close(self, reason: str) -> None:
        """The connection is over."""
        await self.reset()

    # ------------------------------------------------------------ inside

    def _transaction(self) -> Transaction:
        if self._now is None:
            raise FilterdError("a recipient or message without MAIL: the front end lets no such sequence pass")
        return self._now

    def _our_postmaster(self, recipient: Recipient) -> Recipient:
        """`<Postmaster>` without a domain arrives with our hostname; it must be reachable (RFC 5321 4.5.1)."""
        mailbox, engine = recipient.mailbox, self.engine
        if engine.postmaster_domain and mailbox.key == f"postmaster@{engine.hostname}":
            return replace(recipient, mailbox=Mailbox(mailbox.local, engine.postmaster_domain))
        return recipient

    def _decide(self, stage: Stage, recipient: Recipient) -> Verdict:
        about = self._evidence_about(recipient)
        return decide(about, self.engine.policy, stage, recipient.mailbox.key, self.connection.trust)

    async def _carry_out(self, now: Transaction, message: Message, verdicts: list[tuple[Recipient, Verdict]]) -> Reply:
        for _, verdict in verdicts:
            metrics.VERDICTS.labels(verdict.action.value).inc()
        deferred = next((v for _, v in verdicts if v.action is Action.DEFER), None)
        final = [v for _, v in verdicts if v.action in (Action.REJECT, Action.DISCONNECT)]
        now.verdicts += [(str(r.mailbox), v) for r, v in verdicts]
        if deferred is not None or len(final) == len(verdicts):
            refusing = deferred or final[0]
            reply = (refusing.reply or Reply(550, "5.7.1", "Message refused")).with_reference(now.envelope.id)
            return await self._refuse_all(now, message, reply, refusing.row)
        # never 5yz if anybody's policy accepts: a refusal for some becomes their quarantine (facts: exchange.md 9.4)
        forward = [(r, v) for r, v in verdicts if v.action in (Action.ACCEPT, Action.TAG)]
        hold = [(r, v) for r, v in verdicts if v.action not in (Action.ACCEPT, Action.TAG)]
        engine, envelope = self.engine, now.envelope
        cleaned = remove_forged(message, engine.authserv_id)
        if cleaned.removed:
            metrics.FORGED_FIELDS.inc(len(cleaned.removed))
        common = [
            received(self.connection, envelope, engine.hostname, utc(now.received_ms)),
            authentication_results(engine.authserv_id, self.evidence),
        ]

        def above(verdict: Verdict) -> bytes:
            return prepended([*common, report(self.connection, envelope.id, verdict)], message)

        job = Job(
            envelope=envelope,
            message=message_record(now, self.connection, engine.worker, message),
            chunks=cleaned.chunks,
            evidence=self._evidence_record(now, message),
            forward=tuple(r for r, _ in forward),
            forward_prepended=above(forward[0][1]) if forward else b"",
            hold=tuple(r for r, _ in hold),
            hold_prepended=above((hold or forward)[0][1]),
            hold_reason=hold[0][1].reason.value if hold else "",
            refused=tuple(now.refused.values()),
        )
        reply = await engine.handoff.run(job)
        self._note_sender(now, reply, verdicts)
        log_end(now, self.connection, reply, verdicts)
        return reply

    def _note_sender(self, now: Transaction, reply: Reply, verdicts: list[tuple[Recipient, Verdict]]) -> None:
        """A reverse-path with SPF behind it whose mail everybody gets is a known sender from now on."""
        sender = now.envelope.reverse_path
        passed = any(e.check == "spf" and e.result is Result.PASS for e in now.evidence)
        accepted = all(verdict.would is Action.ACCEPT for _, verdict in verdicts)
        if self.engine.senders is not None and reply.is_success and sender is not None and passed and accepted:
            self.engine.senders.note(sender.domain_key)

    async def _refuse_all(
        self, now: Transaction, message: Message, reply: Reply, row: str = "refused_at_data"
    ) -> Reply:
        state = refusal_state(reply)
        outcomes = [Outcome(str(r.mailbox), state, str(reply), row) for r in now.envelope.recipients]
        await self._record(now, [*now.refused.values(), *outcomes], message)
        log_end(now, self.connection, reply, [])
        return reply

    async def _record(self, now: Transaction, outcomes: list[Outcome], message: Message | None) -> None:
        record = message_record(now, self.connection, self.engine.worker, message)
        await self.engine.handoff.record(record, outcomes, self._evidence_record(now, message))
        count(outcomes)

    def _evidence_record(self, now: Transaction, message: Message | None) -> EvidenceRecord:
        of_client = (*self.of_connection, *self._of_helo)
        return evidence_of(now, of_client, self.engine.policy, self.engine.model_name(), message)
