"""Owns one SMTP connection's way through the stages: what is asked when, and the reply that follows.

Early refusals wait until RCPT, so that the log knows the recipient and postmaster stays reachable (RFC 5321 4.5.1).
Must not know sockets, SQL, or any concrete check.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Self

from filterd import metrics
from filterd.checks.base import CheckContext
from filterd.engine.ending import Ending
from filterd.engine.handoff import failure_reply
from filterd.engine.journal import Transaction, log_refusal, who
from filterd.engine.pipeline import stage_deadline
from filterd.engine.policy import decide
from filterd.engine.shared import Engine
from filterd.engine.standing import greet_seconds, is_doubtful, tarpit_seconds
from filterd.errors import FilterdError
from filterd.exchange.receipt import MAX_OCTETS as MAX_RECEIPT_OCTETS
from filterd.lookups import Lookups
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient, TrustClass, new_id
from filterd.mail.evidence import Evidence, Stage
from filterd.mail.headers import header_problem
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action, Verdict

log = logging.getLogger(__name__)

_HEADER_TOO_BIG = Reply(552, "5.3.4", "Header size exceeds fixed maximum size")  # Exchange's words for the same
# RFC 5321 6.3: a count of Received fields, at least 100, from which mail is going in circles; Exchange's own is 30.
_MAX_HOPS = 100
_LOOP = Reply(554, "5.4.6", "Hop count exceeded, possible mail loop")
# A receipt for a probe has one recipient (RFC 3464 2), and so the rest of a list comes in a transaction of its own
# (RFC 5321 4.5.3.1.10).
_RECEIPT_TOO_BIG = Reply(552, "5.3.4", "Message size exceeds fixed maximum message size")
_ONE_AT_A_TIME = Reply(452, "4.5.3", "Too many recipients")
_KEPT_OF_REFUSED = 16_384  # octets of a refused header section from which author and subject are recorded


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
        self._lookups = Lookups(engine.lookups_per_message)

    @classmethod
    async def connected(cls, engine: Engine, connection: Connection) -> Self:
        """A session whose connect stage has run."""
        metrics.CONNECTIONS.inc()
        session = cls(engine, connection)
        session.of_connection = await engine.pipeline.run(Stage.CONNECT, session.context(Stage.CONNECT))
        named = next((e for e in session.of_connection if "client_name" in e.properties), None)
        if named is not None and not connection.client_name:
            session.connection = replace(connection, client_name=named.properties["client_name"])
        return session

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
        self._lookups = Lookups(self.engine.lookups_per_message)
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
            lookups=self._now.lookups if self._now else self._lookups,
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
        lookups = Lookups(self.engine.lookups_per_message)
        self._now = Transaction(Envelope(new_id(now_ms), reverse_path, parameters), now_ms, lookups=lookups)
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
            if now.accepted and (now.is_receipt or now.is_for_receipts(key)):
                return self._refuse(recipient, _ONE_AT_A_TIME.with_reference(now.envelope.id), "probe_receipt")
            now.accepted[key] = recipient
            return Reply(250, "2.1.5", "Recipient OK")
        delay = tarpit_seconds(verdict, now.of_recipient[key], self.engine.clients)
        reply = replace(verdict.reply.with_reference(now.envelope.id), delay_seconds=delay)
        return self._refuse(recipient, reply, verdict.row, verdict)

    async def data_allowed(self) -> Reply | None:
        """Whether the message may come; without room on the disk it would only be refused after it was sent."""
        if self.engine.has_room():
            return None
        now = self._transaction()
        reply = failure_reply("storage_full", now.envelope.id)
        metrics.STORAGE_FAILURES.labels("full").inc()
        told = {**who(now, self.connection), "step": "data", "kind": "full", "reply": str(reply)}
        log.error("storage failed", extra=told)
        for recipient in now.accepted.values():
            now.refuse(str(recipient.mailbox), reply, "storage_full")
        return reply

    async def data(self, message: Message, refusal: Reply | None = None) -> Reply:
        """End-of-data: check, decide for each recipient, hand over; one reply for all."""
        now = self._transaction()
        now.settle()
        ending = self._ending(now)
        try:
            if refusal is None and (problem := header_problem(message, self.engine.header_bytes)):
                log.info("header section refused", extra={"id": now.envelope.id, "problem": problem})
                refusal = _HEADER_TOO_BIG
                message = Message(bytes(message.octets[:_KEPT_OF_REFUSED]))
            if refusal is None and len(message.all("received")) > _MAX_HOPS:
                log.warning(
                    "mail goes in circles", extra={"id": now.envelope.id, "received": len(message.all("received"))}
                )
                refusal = _LOOP
            if refusal is None and now.is_receipt and len(message) > MAX_RECEIPT_OCTETS:
                refusal = _RECEIPT_TOO_BIG
            if refusal is not None:
                return await ending.refuse_all(message, refusal.with_reference(now.envelope.id), "refused_at_data")
            if not now.is_for_filterd:  # what a report carries is not its own, and must not be asked about again
                now.take(await self.engine.pipeline.run(Stage.DATA, self.context(Stage.DATA, message=message)))
            verdicts = [(r, self._decide(Stage.DATA, r)) for r in now.envelope.recipients]
            return await ending.carry_out(message, verdicts)
        except Exception:  # a fault of ours must leave the message with the client (FAILURE row "engine")
            log.exception("engine failed", extra={"id": now.envelope.id})
            return await ending.fail()
        finally:
            self._now = None

    async def reset(self) -> None:
        """RSET, a new MAIL or HELO: a transaction that asked for recipients gets its terminal states."""
        now, self._now = self._now, None
        if now is None or not now.asked:
            return
        await self._ending(now).abort()

    async def close(self, reason: str) -> None:
        """The connection is over."""
        await self.reset()

    # ------------------------------------------------------------ inside

    def _transaction(self) -> Transaction:
        if self._now is None:
            raise FilterdError("a recipient or message without MAIL: the front end lets no such sequence pass")
        return self._now

    def _refuse(self, recipient: Recipient, reply: Reply, row: str, verdict: Verdict | None = None) -> Reply:
        now, name = self._transaction(), str(recipient.mailbox)
        now.refuse(name, reply, row, verdict)
        metrics.REFUSED_RECIPIENTS.labels(str(reply.code)).inc()
        log_refusal(now, self.connection, name, reply, row, self._evidence_about(recipient))
        return reply

    def _our_postmaster(self, recipient: Recipient) -> Recipient:
        """`<Postmaster>` without a domain arrives with our hostname; it must be reachable, and where we take reports too (RFC 5321 4.5.1)."""
        mailbox = recipient.mailbox
        domain = self.engine.postmasters.get(mailbox.domain_key)
        if domain and mailbox.local.lower() == "postmaster":
            return replace(recipient, mailbox=Mailbox(mailbox.local, domain))
        return recipient

    def _decide(self, stage: Stage, recipient: Recipient) -> Verdict:
        about = self._evidence_about(recipient)
        return decide(about, self.engine.policy, stage, recipient.mailbox.key, self.connection.trust)

    def _ending(self, now: Transaction) -> Ending:
        client = (*self.of_connection, *self._of_helo)
        return Ending(self.engine, self.connection, client, now, self._lookups)
