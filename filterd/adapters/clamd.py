"""Owns the sessions with clamd: a few connections that are reused, one stream on each at a time.  clamd(8).

Must not know what a find leads to.

Several streams on one session, one after the other, against a connection for each (clamd 1.4.6, 1 KB, loopback): both
take 0.6 ms alone and 0.3 to 0.4 ms with eight at once, nearly all of it clamd's; of our CPU a session costs 10 us less
over a unix socket and 50 us less over TCP.  Streams side by side on one session would wait for a large one: chunks
have no number.  Plain sockets, because a transport gives up reading when it cannot write, and a clamd that has enough
says so and hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

from filterd.config import MalwareConfig
from filterd.config.malware import split_tcp
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.message import WholeOctets
from filterd.ports import MalwareAnswer, MalwareStatus
from filterd.wire.clamd import (
    BEGIN,
    END,
    MAX_REPLY,
    VERSION,
    BadClamdReplyError,
    ReplyReader,
    Said,
    read_numbered,
    read_stream_reply,
    stream_pieces,
)

# clamd ends a session that is silent for CommandReadTimeout or ReadTimeout seconds: 30 where Debian writes its file.
_IDLE_SECONDS = 20.0

_STATUS = {
    Said.CLEAN: MalwareStatus.CLEAN,
    Said.FOUND: MalwareStatus.FOUND,
    Said.TOO_LARGE: MalwareStatus.TOO_LARGE,
}


class _LostError(Exception):
    """The session ended before it gave an answer."""


class _Session:
    """One connection in an IDSESSION.

    Attributes:
        idle_since: when it was last put aside, in seconds of the event loop.
        usable: both sides agree that nothing is on its way.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.idle_since = 0.0
        self.usable = True
        self._sock = sock
        self._number = 0
        self._head = BEGIN
        self._sending: asyncio.Task[None] | None = None
        self._complete = True

    @property
    def is_silent(self) -> bool:
        """Whether clamd has neither hung up nor said something meanwhile."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def stream(self, octets: WholeOctets) -> MalwareAnswer:
        """Have `octets` scanned.  Raises _LostError, BadClamdReplyError, and TemporaryError for an error that clamd reports."""
        self._complete = False
        self._sending = asyncio.create_task(self._send(octets))
        said = read_stream_reply(await self._reply(), self._number)
        if said.said is Said.ERROR:
            raise TemporaryError(f"clamd: {said.text or 'error'}", "broken")
        # A clamd that has enough answers before it has everything, and hangs up.
        if said.said is Said.CLEAN and not self._complete:
            raise BadClamdReplyError("OK for a message that was not sent as a whole")
        self.usable = self._complete and said.said is not Said.TOO_LARGE
        return MalwareAnswer(_STATUS[said.said], said.text)

    async def version(self) -> str:
        """What clamd is, and its signatures.  Raises _LostError, BadClamdReplyError."""
        self._number += 1
        head, self._head = self._head, b""
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, head + VERSION)
        except OSError as error:
            raise _LostError(_text(error)) from None
        return read_numbered(await self._reply(), self._number).decode("ascii", "replace")

    def end(self) -> None:
        """Take leave without waiting."""
        with contextlib.suppress(OSError):
            self._sock.send(END)  # a few octets into an empty buffer
        self.abort()

    def abort(self) -> None:
        """Drop the connection; a scan that runs goes on in clamd, and its answer to nobody."""
        self.usable = False
        sending = self._sending
        if sending is None or sending.done():
            self._sock.close()
            return
        # Only then: an event loop that still waits for a closed socket would take the next one of its number for it.
        sending.add_done_callback(lambda _sending: self._sock.close())
        sending.cancel()

    async def _send(self, octets: WholeOctets) -> None:
        """Send everything; why that fails is said by clamd, or by the end of the connection."""
        loop = asyncio.get_running_loop()
        self._number += 1
        head, self._head = self._head, b""
        with contextlib.suppress(OSError):
            for piece in stream_pieces(octets):
                await asyncio.sleep(0)  # a socket with room does not wait: others want to work too
                await loop.sock_sendall(self._sock, head + piece if head else piece)
                head = b""
            self._complete = True

    async def _reply(self) -> bytes:
        loop, reader = asyncio.get_running_loop(), ReplyReader()
        while True:
            try:
                data = await loop.sock_recv(self._sock, MAX_REPLY)
            except OSError as error:
                raise _LostError(_text(error)) from None
            if not data:
                said = reader.so_far
                raise _LostError(f"hung up{f', having said: {said}' if said else ''}")
            reply = reader.feed(data)
            if reply is not None:
                return reply


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
        self._idle: list[_Session] = []  # newest last: the oldest ones may expire
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def scan(self, octets: WholeOctets, deadline: Deadline) -> MalwareAnswer:
        """See ports.MalwareScanner."""
        async with self._turn(deadline.within(self._config.scan_seconds)) as until:
            session = self._take_idle()
            if session is not None:
                try:
                    return await self._use(session, octets)
                except _LostError:
                    self.retried += 1  # it may have ended just now: that is no answer
            session = await self._open(until)
            try:
                return await self._use(session, octets)
            except _LostError as error:
                raise TemporaryError(f"clamd at {self._config.clamd}: {error}", "unreachable") from None

    async def version(self, deadline: Deadline) -> str:
        """What clamd is, and its signatures.  Raises TemporaryError."""
        async with self._turn(deadline.within(self._config.scan_seconds)) as until:
            session = await self._open(until)
            try:
                return await session.version()
            except _LostError as error:
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

    async def _use(self, session: _Session, octets: WholeOctets) -> MalwareAnswer:
        """One message over one session, which is kept only when both sides agree where they are."""
        try:
            answer = await session.stream(octets)
        except BaseException:  # whatever it was, a cancellation too
            session.abort()
            raise
        self._put_back(session)
        return answer

    async def _open(self, deadline: Deadline) -> _Session:
        until = deadline.within(self._config.connect_seconds)
        try:
            async with until.timeout():
                sock = await self._connected()
        except (OSError, TimeoutError) as error:  # in this order: TimeoutError is an OSError
            text = "no connection in time" if isinstance(error, TimeoutError) else _text(error)
            raise TemporaryError(f"clamd at {self._config.clamd}: {text}", "unreachable") from None
        self.opened += 1
        return _Session(sock)

    async def _connected(self) -> socket.socket:
        """Raises OSError of the last address that was tried."""
        loop = asyncio.get_running_loop()
        kind, _, rest = self._config.clamd.partition(":")
        if kind == "unix":
            return await _connect(socket.AF_UNIX, rest)
        failure = OSError("the name has no address")
        for family, _, _, _, address in await loop.getaddrinfo(*split_tcp(rest), type=socket.SOCK_STREAM):
            try:
                sock = await _connect(family, address)
            except OSError as error:
                failure = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        raise failure

    def _take_idle(self) -> _Session | None:
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            session = self._idle.pop()
            if session.idle_since >= oldest and session.is_silent:
                return session
            session.end()
        return None

    def _put_back(self, session: _Session) -> None:
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


async def _connect(family: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)  # type: ignore[arg-type]  # a path or a tuple
    except BaseException:
        sock.close()
        raise
    return sock


def _text(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error) or type(error).__name__
