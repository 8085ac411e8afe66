"""Owns the delivery of released copies: takes what is due from the queue, hands it to upstream, writes what came of it.

Mail of our own Exchange that the next server did not take at once goes to that server, and its author is told in the end.

At least once: a process that dies during a hand-over leaves its row Active, and the copy is taken again when the lease
ends, so that a recipient may get a copy twice but never not at all.  RFC 5321 4.5.4.1 (retries), 6.1 (duplicates).
Must not know HTTP, or who released the copy.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from filterd import metrics
from filterd.deadline import Deadline
from filterd.errors import PermanentError, StorageError, TemporaryError
from filterd.mail.address import parse_mailbox
from filterd.mail.dsn import MAX_QUOTED, Refused, Undelivered, wants_notice
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.headers import REPORT_FIELD, SCL_FIELD
from filterd.mail.message import Octets
from filterd.mail.reply import Reply, printable
from filterd.ports import OUTBOUND_DEFERRED, Upstream
from filterd.storage import outbox, quarantine
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import CUSTODY
from filterd.storage.outbox import OutboxItem

log = logging.getLogger(__name__)

T = TypeVar("T")

DELIVERY_SECONDS = 900.0  # as the mail path: Exchange may take 10 minutes after the final dot
LEASE_SECONDS = 1_200.0  # longer than a delivery and the writing of its result together can take
MARK_SECONDS = 120.0  # how long we go on trying to write down a delivery: forgetting it means a duplicate
GIVE_UP_SECONDS = 172_800.0  # for the world: two days, as Exchange's own queues (MessageExpirationTimeout)
POLL_SECONDS = 2.0  # between looks at an empty queue; a person waits for the release
_REPORT = REPORT_FIELD.encode() + b":"
_SCL = re.compile(rb"\r\n\tSCL:-?[0-9]+;")
_SFV = re.compile(rb"\r\n\tSFV:[A-Z]+;")
_ORGANIZATION_SCL = re.compile(rb"(?m)^" + SCL_FIELD.encode() + rb": -?[0-9]+\r$")
_NOT_CONFIRMED = Reply(
    451, "4.4.2", "The next mail server took the message and did not confirm it; it may have arrived"
)
_IN_DOUBT = "in doubt: upstream may already have it, the next attempt may deliver it twice"


def as_released(prepended: bytes) -> bytes:
    """Our fields with the report of a copy that a person released: SCL:-1 and SFV:SKQ, as Exchange Online says it.

    Without this the transport rule on SFV:SPM would put into Junk what somebody has just asked for.  Only our own
    report field and our SCL for Exchange are touched; what else stands there, and the message, stays octet for octet.
    """
    start = 0 if prepended.startswith(_REPORT) else prepended.find(b"\r\n" + _REPORT)
    if start < 0:
        return prepended
    report = _SFV.sub(b"\r\n\tSFV:SKQ;", _SCL.sub(b"\r\n\tSCL:-1;", prepended[start:], count=1), count=1)
    return prepended[:start] + _ORGANIZATION_SCL.sub(SCL_FIELD.encode() + b": -1\r", report)


class OutboxRunner:
    """Delivers due copies, one after the other in each of `workers` tasks."""

    def __init__(
        self,
        database: Database,
        upstream: Upstream,
        *,
        outbound: Upstream | None = None,
        tell: Callable[[Undelivered], Awaitable[None]] | None = None,
        sent: Callable[[OutboxItem, Reply], Awaitable[None]] | None = None,
        clock_ms: Callable[[], int] = now_ms,
        owner: str = "",
        workers: int = 2,
        poll_seconds: float = POLL_SECONDS,
        mark_seconds: float = MARK_SECONDS,
    ) -> None:
        """`outbound`: who takes mail for the world, and `tell` what becomes of it to its author (raises StorageError).

        `sent`: told of each copy that was taken, when that is written down.

        `clock_ms`: Unix milliseconds.  `workers`: 2, so that one slow hand-over does not hold up all others.
        """
        self._database = database
        self._upstream = upstream
        self._outbound = outbound
        self._tell = tell
        self._sent = sent
        self._clock_ms = clock_ms
        self._owner = owner or f"outbox:{os.getpid()}:{secrets.token_hex(4)}"
        self._workers = workers
        self._poll_seconds = poll_seconds
        self._mark_seconds = mark_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; a hand-over under way is finished first.

        Cancelling ends it at once; a hand-over that this interrupts is marked as in doubt and tried again later.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work(stop))

    async def run_once(self) -> bool:
        """Deliver the copy that is due longest; whether there was one.

        Raises StorageError when the queue cannot be read or the result not be written; then the row, if taken, stays
        Active and is due again when its lease ends.
        """
        item = await asyncio.to_thread(outbox.claim, self._database, self._clock_ms(), self._owner, LEASE_SECONDS)
        if item is None:
            return False
        try:
            chunks = await asyncio.to_thread(self._chunks, item)
            reply = await self._deliver(item, chunks)
        except PermanentError as error:
            await self._failed(item, str(error), permanent=True)
        except TemporaryError as error:
            in_doubt = error.kind == "in_doubt"
            if self._is_too_old(item):  # also what may have arrived: he must not get it each hour for ever
                await self._give_up(
                    item, _NOT_CONFIRMED if in_doubt else Reply(451, "4.4.1", printable(str(error), 300))
                )
                return True
            await self._failed(item, f"{_IN_DOUBT} ({error})" if in_doubt else str(error), kind=error.kind)
        except asyncio.CancelledError:
            await asyncio.shield(self._failed(item, f"{_IN_DOUBT} (stopped by shutdown)", kind="in_doubt"))
            raise
        else:
            if reply.is_success:
                await self._delivered(item, reply)
            elif (reply.is_permanent and self._is_authors(item)) or self._is_too_old(item):
                await self._give_up(item, reply)
            else:
                await self._failed(item, f"upstream: {reply}", permanent=reply.is_permanent)
        return True

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                if await self.run_once():
                    continue
            except StorageError as error:
                log.error("outbox cannot use the database", extra={"kind": error.kind, "error": str(error)})
            except Exception:  # a fault of ours in one copy must not end the deliveries of all others
                log.exception("outbox crashed")
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    def _chunks(self, item: OutboxItem) -> tuple[Octets, ...]:
        """Our header fields and the message.  Raises PermanentError when the octets are gone."""
        prepended = quarantine.prepended(self._database, item.message_id, item.recipient)
        if item.created_by != CUSTODY:
            prepended = as_released(prepended)
        return prepended, quarantine.body(self._database, item.message_id)

    async def _deliver(self, item: OutboxItem, chunks: tuple[Octets, ...]) -> Reply:
        """Upstream's answer for this recipient."""
        mailbox = parse_mailbox(item.recipient)
        reverse_path = parse_mailbox(item.mail_from) if item.mail_from else None
        if mailbox is None or (item.mail_from and reverse_path is None):
            raise PermanentError("the envelope has an address that is none")
        recipient = Recipient(mailbox, item.parameters)
        envelope = Envelope(item.message_id, reverse_path, item.mail_parameters, (recipient,))
        upstream = self._outbound if item.outbound else self._upstream
        if upstream is None:
            raise TemporaryError("it is for the world, and outbound.host names no next mail server", "unreachable")
        started = time.perf_counter()
        deadline = Deadline.after(DELIVERY_SECONDS)
        try:
            delivery = await upstream.deliver(envelope, (recipient,), chunks, deadline)
        finally:
            metrics.HANDOVER_SECONDS.observe(time.perf_counter() - started)
        return delivery.replies[0]

    async def _delivered(self, item: OutboxItem, reply: Reply) -> None:
        metrics.OUTBOX.labels("delivered").inc()
        log.info("released copy delivered", extra={"id": item.message_id, "outbox": item.id, "reply": str(reply)})
        # A cancelled caller must not undo it: upstream has the copy.
        await asyncio.shield(self._insist(lambda: outbox.delivered(self._database, item.id, str(reply))))
        if self._sent is not None:
            try:
                await self._sent(item, reply)
            except Exception:  # a log's fault; the delivery is written down
                log.exception("a delivery could not be told", extra={"id": item.message_id})

    async def _failed(self, item: OutboxItem, error: str, *, permanent: bool = False, kind: str = "temporary") -> None:
        metrics.OUTBOX.labels("permanent" if permanent else kind).inc()
        log.warning(
            "released copy not delivered",
            extra={"id": item.message_id, "outbox": item.id, "permanent": permanent, "error": error},
        )
        await asyncio.to_thread(outbox.failed, self._database, item.id, error, permanent, self._clock_ms())

    def _is_authors(self, item: OutboxItem) -> bool:
        """Whether its author hears what becomes of it: he is ours, and no person has released it, who would have to look."""
        return item.held_for == OUTBOUND_DEFERRED and item.created_by == CUSTODY and self._tell is not None

    def _is_too_old(self, item: OutboxItem) -> bool:
        return self._is_authors(item) and self._clock_ms() - item.created_ms >= GIVE_UP_SECONDS * 1000

    async def _give_up(self, item: OutboxItem, reply: Reply) -> None:
        """The author is told, then the copy leaves the queue; in the quarantine it lies until it expires.  Raises StorageError."""
        mailbox, sender = parse_mailbox(item.recipient), parse_mailbox(item.mail_from) if item.mail_from else None
        assert self._tell is not None
        assert mailbox is not None  # it was tried
        refused = Refused(Recipient(mailbox, item.parameters), reply)
        told = sender is not None and wants_notice(refused.recipient)
        if sender is not None and told:
            body = await asyncio.to_thread(quarantine.body, self._database, item.message_id)
            header = bytes(body[:MAX_QUOTED])
            await self._tell(Undelivered(item.message_id, sender, item.mail_parameters, (refused,), header, True))
        await self._failed(
            item, f"{reply}; {'its author was told' if told else 'nobody wants to be told'}", permanent=True
        )
        await asyncio.to_thread(outbox.remove, self._database, item.id)

    async def _insist(self, write: Callable[[], T]) -> T:
        """The result of `write`, tried again while the database does not answer; raises StorageError in the end."""
        deadline = Deadline.after(self._mark_seconds)
        pause = 0.1
        while True:
            try:
                return await asyncio.to_thread(write)
            except StorageError as error:
                if deadline.remaining <= pause:
                    raise
                log.error("delivery cannot be written down yet", extra={"error": str(error)})
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
