"""Owns the sessions with clamd: a few connections that are reused, one stream on each at a time.  clamd(8).

Must not know what a find leads to.

Several streams on one session, one after the other, against a connection for each (clamd 1.4.6, 1 KB, loopback): both
take 0.6 ms alone and 0.3 to 0.4 ms with eight at once, nearly all of it clamd's; of our CPU a session costs 10 us less
over a unix socket and 50 us less over TCP.  Streams side by side on one session would wait for a large one: chunks
have no number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from filterd.adapters.clamd_session import ClamdSession, SessionLostError, error_text, open_session
from filterd.config import MalwareConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.message import WholeOctets
from filterd.ports import MalwareAnswer
from filterd.wire.clamd import BadClamdReplyError

log = logging.getLogger(__name__)

# clamd ends a session that is silent for CommandReadTimeout or ReadTimeout seconds: 30 where Debian writes its file.
_IDLE_SECONDS = 20.0


class ClamdScanner:
    """ports.MalwareScanner over clamd.

    Attributes:
        opened: connections opened so far.
        retried: messages that were sent again because a session that had been idle was dead.
    """

    def __init__(self, config: MalwareConfig) -> None:
        self.opened = 0
        self.retried = 0
        self._config = config
        self._turns = asyncio.Semaphore(config.connections)
        self._idle: list[ClamdSession] = []  # newest last: the oldest ones may expire
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._answers = True

    async def scan(self, octets: WholeOctets, deadline: Deadline) -> MalwareAnswer:
        """See ports.MalwareScanner.  The first failure after an answer is logged, and the first answer after a failure."""
        try:
            answer = await self._scan(octets, deadline)
        except TemporaryError as error:
            if self._answers:
                self._answers = False
                log.error("malware scanner gives no answer", extra={"error": str(error), "kind": error.kind})
            raise
        if not self._answers:
            self._answers = True
            log.info("malware scanner answers again", extra={"clamd": self._config.clamd})
        return answer

    async def _scan(self, octets: WholeOctets, deadline: Deadline) -> MalwareAnswer:
        async with self._turn(deadline.within(self._config.scan_seconds)) as until:
            session = self._take_idle()
            if session is not None:
                try:
                    return await self._use(session, octets)
                except SessionLostError:
                    self.retried += 1  # it may have ended just now: that is no answer
            session = await self._open(until)
            try:
                return await self._use(session, octets)
            except SessionLostError as error:
                raise TemporaryError(f"clamd at {self._config.clamd}: {error}", "unreachable") from None

    async def version(self, deadline: Deadline) -> str:
        """What clamd is, and its signatures.  Raises TemporaryError."""
        async with self._turn(deadline.within(self._config.scan_seconds)) as until:
            session = await self._open(until)
            try:
                return await session.version()
            except SessionLostError as error:
                raise TemporaryError(f"clamd at {self._config.clamd}: {error}", "unreachable") from None
            finally:
                session.end()

    async def close(self) -> None:
        """Take leave on idle connections; those in use end after their message."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop().end()

    # ------------------------------------------------------------ inside

    @contextlib.asynccontextmanager
    async def _turn(self, deadline: Deadline) -> AsyncIterator[Deadline]:
        """One of the few turns; what takes longer than `deadline`, or is no answer, is a TemporaryError."""
        waiting = True
        try:
            async with deadline.timeout() as limit, self._turns:
                waiting = False
                yield deadline
        except TimeoutError:
            if not limit.expired():
                raise
            text = "all connections are in use" if waiting else "no answer in time"
            raise TemporaryError(f"clamd at {self._config.clamd}: {text}", "busy" if waiting else "timeout") from None
        except BadClamdReplyError as error:
            raise TemporaryError(f"clamd at {self._config.clamd}: {error}", "broken") from None

    async def _use(self, session: ClamdSession, octets: WholeOctets) -> MalwareAnswer:
        """One message over one session, which is kept only when both sides agree where they are."""
        try:
            answer = await session.stream(octets)
        except BaseException:  # whatever it was, a cancellation too
            session.abort()
            raise
        self._put_back(session)
        return answer

    async def _open(self, deadline: Deadline) -> ClamdSession:
        until = deadline.within(self._config.connect_seconds)
        try:
            async with until.timeout():
                session = await open_session(self._config.clamd)
        except (OSError, TimeoutError) as error:  # in this order: TimeoutError is an OSError
            text = "no connection in time" if isinstance(error, TimeoutError) else error_text(error)
            raise TemporaryError(f"clamd at {self._config.clamd}: {text}", "unreachable") from None
        self.opened += 1
        return session

    def _take_idle(self) -> ClamdSession | None:
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            session = self._idle.pop()
            if session.idle_since >= oldest and session.is_silent:
                return session
            session.end()
        return None

    def _put_back(self, session: ClamdSession) -> None:
        if not session.usable:
            session.abort()
            return
        if self._closed:
            session.end()
            return
        loop = asyncio.get_running_loop()
        session.idle_since = loop.time()
        self._idle.append(session)
        if self._sweep is None:
            self._sweep = loop.call_later(_IDLE_SECONDS, self._expire)

    def _expire(self) -> None:
        """Leave sessions that nobody needed for long, before clamd does."""
        loop = asyncio.get_running_loop()
        self._sweep = None
        while self._idle and self._idle[0].idle_since + _IDLE_SECONDS <= loop.time():
            self._idle.pop(0).end()
        if self._idle:
            self._sweep = loop.call_at(self._idle[0].idle_since + _IDLE_SECONDS, self._expire)
