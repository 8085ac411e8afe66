"""Owns the hand-over: the only cause of a 250 after end-of-data.  RFC 5321 4.2.5, 6.1.

Order: the ledger has the message, upstream takes what is forwarded, then the quarantine takes what is held; every
failure on the way leaves the message with the client, or with us durably, or with upstream: never with nobody.
Must not know SMTP sessions, SQL or sockets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from filterd import metrics
from filterd.deadline import Deadline
from filterd.engine.job import Job
from filterd.engine.tables import FAILURE
from filterd.errors import StorageError, StorageFullError, TemporaryError
from filterd.faults import reach, warn_if_armed
from filterd.mail.envelope import Recipient
from filterd.mail.reply import Reply
from filterd.ports import (
    UPSTREAM_REFUSED,
    Custody,
    EvidenceRecord,
    HeldMessage,
    MessageRecord,
    Outcome,
    TerminalState,
    Upstream,
)

log = logging.getLogger(__name__)

# Exchange may take 10 minutes after the final dot (facts: exchange.md 2.2); connecting and commands come on top.
HANDOVER_SECONDS = 900.0
# Later nobody else is served in the same hand-over: a client that gives up (10 minutes, RFC 5321 4.5.3.2.6) doubles everything.
NEXT_GROUP_SECONDS = 120.0
_LATE = Reply(451, "4.4.7", "The client has waited long enough, the outbox delivers this copy")

# a full disk is noticed and cleared in minutes, or not soon
RECORD_AGAIN_SECONDS = (1.0, 5.0, 30.0, 60.0, 300.0, 600.0)
MAX_LATER = 1000  # ends of messages that nobody took, a few KB each, that wait for the ledger


def failure_reply(name: str, reference: str) -> Reply:
    """The reply of a FAILURE row."""
    reply = FAILURE[name].reply or FAILURE["engine"].reply
    assert reply is not None
    return reply.with_reference(reference)


class HandOff:
    """Carries out decisions."""

    def __init__(self, upstream: Upstream, custody: Custody) -> None:
        warn_if_armed()
        self._upstream = upstream
        self._custody = custody
        self._later: dict[asyncio.Task[None], tuple[MessageRecord, Sequence[Outcome], EvidenceRecord]] = {}

    async def run(self, job: Job) -> Reply:
        """The end-of-data reply; when it is a 250, upstream has every forwarded copy and the disk every held one."""
        reference = job.envelope.id
        asked = (*job.forward, *job.hold)
        reach("handoff.started")
        try:
            await self._custody.begin(job.message)
        except StorageError as error:
            reply = self._storage_failed(error, reference, "begin")
            if not isinstance(error, StorageFullError):  # what little room is left is for what was taken
                outcomes = [Outcome(str(r.mailbox), TerminalState.DEFERRED, str(reply), "ledger failed") for r in asked]
                self._again(job.message, [*job.refused, *outcomes], job.evidence)
            return reply
        reach("handoff.begun")
        replies: dict[str, Reply] = {}
        retry: set[str] = set()
        held = list(job.hold)
        accepted: list[Recipient] = []
        if job.forward:
            try:
                replies = await self._offer(job)
                reach("handoff.delivered")
            except TemporaryError as error:
                return await self._all(job, _gone(error, reference), TerminalState.DEFERRED, str(error))
            delivered = tuple(replies.values())
            accepted = [r for r in job.forward if replies[str(r.mailbox)].is_success]
            rest = [r for r in job.forward if not replies[str(r.mailbox)].is_success]
            if rest and not accepted:
                worst = next((r for r in delivered if r.is_temporary), delivered[0])
                if worst.is_temporary or not held:
                    state = TerminalState.DEFERRED if worst.is_temporary else TerminalState.REJECTED
                    return await self._all(job, passed_on(worst, reference), state, f"upstream: {worst}")
            held += rest
            retry = {str(r.mailbox) for r in rest if replies[str(r.mailbox)].is_temporary}
        return await self._conclude(job, accepted, held, replies, retry)

    async def _offer(self, job: Job) -> dict[str, Reply]:
        """An answer for every forwarded recipient, group by group.

        Until somebody has the message, a failure is everybody's: TemporaryError, and the client keeps it.  From then on it is ours:
        who was not served gets a temporary answer, and with it a held copy that the outbox delivers.
        """
        deadline = Deadline.after(HANDOVER_SECONDS)
        replies: dict[str, Reply] = {}
        later: Reply | None = None
        for prepended, recipients in job.groups():
            names = [str(r.mailbox) for r in recipients]
            taken = any(reply.is_success for reply in replies.values())
            if taken and deadline.remaining < HANDOVER_SECONDS - NEXT_GROUP_SECONDS:
                later = later or _LATE
            if later is None:
                try:
                    if replies:
                        reach("handoff.next")
                    answers = await self._deliver(job, prepended, recipients, deadline)
                    replies |= zip(names, answers, strict=True)
                    continue
                except TemporaryError as error:
                    if not taken:
                        raise
                    later = _gone(error, "")
                except Exception:  # a fault of ours: the client would send to those again who have it
                    if not taken:
                        raise
                    log.exception("engine failed between two groups of recipients", extra={"id": job.envelope.id})
                    later = failure_reply("upstream_in_doubt", "")
            replies |= dict.fromkeys(names, later)
        return replies

    async def _deliver(
        self, job: Job, prepended: bytes, recipients: Sequence[Recipient], deadline: Deadline
    ) -> tuple[Reply, ...]:
        started = time.perf_counter()
        try:
            delivery = await self._upstream.deliver(job.envelope, recipients, (prepended, *job.chunks), deadline)
        except TemporaryError as error:
            metrics.UPSTREAM_FAILURES.labels(error.kind).inc()
            log.error("upstream failed", extra={"id": job.envelope.id, "kind": error.kind, "error": str(error)})
            raise
        metrics.HANDOVER_SECONDS.observe(time.perf_counter() - started)
        if delivery.data_reply is not None:
            metrics.UPSTREAM_REPLIES.labels(str(delivery.data_reply.code)).inc()
        return delivery.replies

    async def _conclude(
        self,
        job: Job,
        accepted: Sequence[Recipient],
        held: Sequence[Recipient],
        replies: dict[str, Reply],
        retry: set[str],
    ) -> Reply:
        """Record what happened; held copies become durable here."""
        reference = job.envelope.id
        reply = Reply(250, "2.0.0", "Message accepted", reference)
        if accepted:
            answer = replies[str(accepted[0].mailbox)]
            reply = Reply(250, answer.enhanced or "2.0.0", "Message accepted by the next mail server", reference)
        outcomes = [
            Outcome(str(r.mailbox), TerminalState.FORWARDED, str(reply), f"upstream: {replies[str(r.mailbox)]}")
            for r in accepted
        ]
        for recipient in held:
            name = str(recipient.mailbox)
            detail = f"upstream: {replies[name]}" if name in replies else job.hold_reasons.get(name, job.hold_reason)
            outcomes.append(Outcome(name, TerminalState.QUARANTINED, str(reply), detail))
        box = self._held(job, held, replies, retry)
        try:
            await self._custody.finish(job.message, [*job.refused, *outcomes], job.evidence, box)
        except StorageError as error:
            failed = self._storage_failed(error, reference, "finish")
            # Upstream has every copy: a deferral now would only make duplicates.  The ledger gets its rows later.
            if box is not None:
                reply = failed
                outcomes = [_not_held(outcome, reply) for outcome in outcomes]
            self._again(job.message, [*job.refused, *outcomes], job.evidence)
        reach("handoff.finished")
        count(outcomes)
        return reply

    def _held(
        self, job: Job, held: Sequence[Recipient], replies: dict[str, Reply], retry: set[str]
    ) -> HeldMessage | None:
        if not held:
            return None
        names = [str(r.mailbox) for r in held]
        refused = [name for name in names if name in replies]
        usual = {name: job.forward_prepended if name in replies else job.hold_prepended for name in names}
        own = {name: job.fields.get(name, usual[name]) for name in names}
        if refused:  # the sender is told 250 and no bounce: somebody here must look
            metrics.UPSTREAM_REFUSED_COPIES.inc(len(refused))
            log.warning(
                "upstream refused some recipients, their copies are held",
                extra={"id": job.envelope.id, "recipients": refused, "replies": [str(replies[n]) for n in refused]},
            )
        reason = UPSTREAM_REFUSED if refused else job.hold_reason
        own_reasons = {name: job.hold_reasons.get(name, job.hold_reason) for name in names if name not in replies}
        return HeldMessage(
            prepended=job.hold_prepended,
            chunks=job.chunks,
            recipients={str(r.mailbox): r.parameters for r in held},
            reason=reason,
            scl=job.evidence.scl,
            score=job.evidence.score,
            retry=frozenset(retry),
            parameters=job.envelope.parameters,
            reasons={name: why for name, why in own_reasons.items() if why != reason},
            fields={name: octets for name, octets in own.items() if octets != job.hold_prepended},
        )

    async def _all(self, job: Job, reply: Reply, state: TerminalState, detail: str) -> Reply:
        """One refusal or deferral for every recipient: nothing was taken by anybody."""
        outcomes = [Outcome(str(r.mailbox), state, str(reply), detail) for r in (*job.forward, *job.hold)]
        await self.record(job.message, [*job.refused, *outcomes], job.evidence)
        count(outcomes)
        return reply

    async def record(self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord) -> bool:
        """Write terminal states of copies that nobody took; a failure is logged and counted, the answer stays as it is.

        Returns whether they are written; if not, that is tried again later.
        """
        if await self._write(message, outcomes, evidence):
            return True
        self._again(message, outcomes, evidence)
        return False

    async def _write(self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord) -> bool:
        try:
            await self._custody.finish(message, outcomes, evidence, None)
        except StorageError as error:
            self._storage_failed(error, message.id, "record")
            return False
        return True

    def _again(self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord) -> None:
        """Write the ends as soon as the ledger can be written again; until then audit shows the gap."""
        taken = any(outcome.state is TerminalState.FORWARDED for outcome in outcomes)
        if not taken and len(self._later) >= MAX_LATER:
            return  # nobody has it, and if it was begun, the next start of this worker closes it

        async def retry() -> None:
            for pause in RECORD_AGAIN_SECONDS:
                await asyncio.sleep(pause)
                if await self._write(message, outcomes, evidence):
                    return

        task = asyncio.create_task(retry())
        self._later[task] = (message, outcomes, evidence)  # the loop itself holds tasks weakly
        task.add_done_callback(lambda done: self._later.pop(done, None))

    async def flush(self) -> None:
        """Before the process ends: one more try to write what the ledger could not take."""
        waiting = dict(self._later)
        for task, what in waiting.items():
            task.cancel()
            await self._write(*what)

    def _storage_failed(self, error: StorageError, reference: str, step: str) -> Reply:
        metrics.STORAGE_FAILURES.labels(error.kind).inc()
        log.error("storage failed", extra={"id": reference, "step": step, "kind": error.kind, "error": str(error)})
        return failure_reply("storage_full" if isinstance(error, StorageFullError) else "storage", reference)


def _not_held(outcome: Outcome, reply: Reply) -> Outcome:
    """The end of a recipient after the copies that should be held could not be: the client was told to come again."""
    if outcome.state is TerminalState.QUARANTINED:
        return replace(outcome, state=TerminalState.DEFERRED, reply=str(reply), detail="quarantine failed")
    return replace(outcome, reply=str(reply))


def _gone(error: TemporaryError, reference: str) -> Reply:
    return failure_reply("upstream_in_doubt" if error.kind == "in_doubt" else "upstream", reference)


def passed_on(reply: Reply, reference: str) -> Reply:
    """Upstream's refusal as ours: same code and text under our id; 421 and odd codes become plain 451 or 550."""
    code = reply.code
    if reply.is_temporary and code not in (450, 451, 452):
        code = 451
    if reply.is_permanent and code not in (550, 551, 552, 553, 554):
        code = 550
    fallback = "4.0.0" if code < 500 else "5.0.0"
    return replace(
        reply,
        code=code,
        enhanced=reply.enhanced or fallback,
        text=reply.text[:300] or "Refused",
        reference=reference,
        close=False,
    )


def count(outcomes: Sequence[Outcome]) -> None:
    """Add terminal states to the metrics."""
    for outcome in outcomes:
        metrics.MESSAGES.labels(outcome.state.value).inc()
