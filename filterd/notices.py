"""Owns the delivery of mail that we write ourselves, such as answers to reports: with the null reverse-path, over upstream.

At least once: a process that dies during a hand-over leaves its row Active, and it is taken again when the lease ends.  What
upstream refuses for good waits for a person.  Must not know what stands in it.  RFC 3834 3.3 (null reverse-path).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from filterd import metrics
from filterd.deadline import Deadline
from filterd.errors import PermanentError, StorageError, TemporaryError
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Envelope, Recipient, new_id
from filterd.mail.reply import Reply
from filterd.outbound import KIND
from filterd.ports import Upstream
from filterd.storage import notices
from filterd.storage.database import Database, now_ms
from filterd.storage.notices import Notice
from filterd.storage.outbox import QueueState

log = logging.getLogger(__name__)

DELIVERY_SECONDS = 900.0  # as the mail path: Exchange may take 10 minutes after the final dot
LEASE_SECONDS = 1_200.0  # longer than a delivery and the writing of its result together can take
POLL_SECONDS = 2.0
# Five days, as mail that is sent itself (RFC 5321 4.5.4.1): a refusal that its author does not hear of is a lost message.
_ATTEMPTS = {KIND: 124}


class NoticeRunner:
    """Delivers what is due, one after the other."""

    def __init__(
        self,
        database: Database,
        upstream: Upstream,
        *,
        clock_ms: Callable[[], int] = now_ms,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`clock_ms`: Unix milliseconds."""
        self._database = database
        self._upstream = upstream
        self._clock_ms = clock_ms
        self._poll_seconds = poll_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; a hand-over under way is finished first."""
        while not stop.is_set():
            try:
                if await self.run_once():
                    continue
            except StorageError as error:
                log.error("notices cannot use the database", extra={"kind": error.kind, "error": str(error)})
            except Exception:  # a fault of ours in one must not end the deliveries of all others
                log.exception("delivering notices crashed")
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    async def run_once(self) -> bool:
        """Deliver the one that is due longest; whether there was one.  Raises StorageError."""
        notice = await asyncio.to_thread(notices.claim, self._database, self._clock_ms(), LEASE_SECONDS)
        if notice is None:
            return False
        try:
            reply = await self._deliver(notice)
        except PermanentError as error:
            await self._failed(notice, str(error), permanent=True)
        except TemporaryError as error:
            await self._failed(notice, f"{error.kind}: {error}")
        except asyncio.CancelledError:
            await asyncio.shield(self._failed(notice, "in doubt: stopped by shutdown"))
            raise
        else:
            if reply.is_success:
                metrics.NOTICES.labels("delivered").inc()
                log.info("notice delivered", extra={**_about(notice), "reply": str(reply)})
                await asyncio.to_thread(notices.delivered, self._database, notice.id, str(reply), self._clock_ms())
            else:
                await self._failed(notice, f"upstream: {reply}", permanent=reply.is_permanent)
        return True

    async def _deliver(self, notice: Notice) -> Reply:
        mailbox = parse_mailbox(notice.recipient)
        if mailbox is None:
            raise PermanentError("the recipient is no mailbox")
        recipients = (Recipient(mailbox),)
        envelope = Envelope(new_id(self._clock_ms()), None, (), recipients)
        deadline = Deadline.after(DELIVERY_SECONDS)
        delivery = await self._upstream.deliver(envelope, recipients, (notice.octets,), deadline)
        return delivery.replies[0]

    async def _failed(self, notice: Notice, error: str, *, permanent: bool = False) -> None:
        most = _ATTEMPTS.get(notice.kind, notices.MAX_ATTEMPTS)
        state = await asyncio.to_thread(
            notices.failed, self._database, notice, error, permanent, self._clock_ms(), most
        )
        metrics.NOTICES.labels("retry" if state is QueueState.RETRY else "suspended").inc()
        log.warning("notice not delivered", extra={**_about(notice), "state": state.value, "error": error})


def _about(notice: Notice) -> dict[str, object]:
    return {"notice": notice.id, "kind": notice.kind, "recipient": notice.recipient}
