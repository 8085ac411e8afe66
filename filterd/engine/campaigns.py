"""Owns which messages are counted by campaign, and those that were counted and are not yet written: a bounded queue.

Mail never waits for it and never fails with it (docs/campaigns.md).  When the process dies, what came in the last
FLUSH_SECONDS is not counted.  Must not know how the index finds what belongs together, nor where it is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice

from filterd import metrics
from filterd.content.fingerprint import fingerprint
from filterd.errors import TemporaryError
from filterd.mail.envelope import Recipient
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action, Verdict
from filterd.ports import Campaigns, CampaignSighting, TerminalState

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
BATCH = 25  # of one transaction: mail waits for the write lock some milliseconds, at most
MAX_WAITING = 5_000  # about 1 KB each, 3 KB at most: ten seconds of a very busy process
_PAUSE_SECONDS = 0.02  # between two transactions: whoever waits for SQLite's lock is in no queue
_MAX_TEXT = 500  # characters, as the ledger keeps of the author


class CampaignNotes:
    """Counts messages of one process, in the background."""

    def __init__(self, index: Campaigns, max_waiting: int = MAX_WAITING) -> None:
        self._index = index
        self._max_waiting = max_waiting
        self._waiting: deque[CampaignSighting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def note(
        self, message: Message, id: str, at_ms: int, reply: Reply, verdicts: Sequence[tuple[Recipient, Verdict]]
    ) -> None:
        """One message has this end.  Returns at once (0.1 to 0.2 ms) and never raises."""
        try:
            state = state_of(reply, [verdict for _, verdict in verdicts])
            found = fingerprint(message) if state is not None else None
            if state is None or found is None:
                return
            if len(self._waiting) >= self._max_waiting:
                metrics.CAMPAIGN_MESSAGES.labels("dropped").inc()
                return
            author, subject = message.first("from")[:_MAX_TEXT], message.subject[:_MAX_TEXT]
            self._waiting.append(CampaignSighting(id, at_ms, state, found.keys, found.sketch, author, subject))
            self._later()
        except Exception:  # a fault of ours in counting must not touch mail
            metrics.CAMPAIGN_MESSAGES.labels("lost").inc()
            log.exception("a message cannot be counted by campaign", extra={"id": id})

    async def flush(self) -> None:
        """Before the process ends: write what is there; what cannot be written now is lost and counted."""
        self._no_timer()
        if self._writing is not None:
            await self._writing
        self._no_timer()  # what was left over has set one
        self._writing = asyncio.create_task(self._write(), name="campaigns")  # nothing begins beside it
        await self._writing
        self._writing = None
        metrics.CAMPAIGN_MESSAGES.labels("lost").inc(len(self._waiting))
        self._waiting.clear()

    # ------------------------------------------------------------ inside

    def _later(self) -> None:
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._start)

    def _no_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._timer = None
        self._writing = asyncio.create_task(self._write(), name="campaigns")
        self._writing.add_done_callback(self._written)

    def _written(self, _task: asyncio.Task[None]) -> None:
        self._writing = None
        if self._waiting:
            self._later()

    async def _write(self) -> None:
        """Everything that waits, or what can be written until the index fails."""
        while self._waiting:
            batch = list(islice(self._waiting, BATCH))
            try:
                await asyncio.to_thread(self._index.add, batch)
            except TemporaryError as error:
                metrics.CAMPAIGN_MESSAGES.labels("retried").inc(len(batch))
                log.warning("campaigns are counted later", extra={"kind": error.kind, "error": str(error)})
                return
            except Exception:  # a fault of ours must not end the process, nor be tried for ever
                metrics.CAMPAIGN_MESSAGES.labels("lost").inc(len(batch))
                log.exception("campaigns cannot be counted")
            else:
                metrics.CAMPAIGN_MESSAGES.labels("kept").inc(len(batch))
            for _ in batch:
                self._waiting.popleft()
            await asyncio.sleep(_PAUSE_SECONDS)


def state_of(reply: Reply, verdicts: Sequence[Verdict]) -> TerminalState | None:
    """As what a message is counted: quarantined if a copy was meant for it, else as everybody was told; None: it comes again."""
    if reply.is_temporary:
        return None
    if not reply.is_success:
        return TerminalState.REJECTED
    everybody = all(verdict.action in (Action.ACCEPT, Action.TAG) for verdict in verdicts)
    return TerminalState.FORWARDED if everybody else TerminalState.QUARANTINED
