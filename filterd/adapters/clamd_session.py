"""Owns one session with clamd: connect, one stream at a time out, its answer in.  clamd(8), IDSESSION.

Must not know which session is used when (adapters/clamd.py).

Plain sockets, because a transport gives up reading when it cannot write, and a clamd that has enough says so and hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from filterd.config.malware import split_tcp
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

_STATUS = {
    Said.CLEAN: MalwareStatus.CLEAN,
    Said.FOUND: MalwareStatus.FOUND,
    Said.TOO_LARGE: MalwareStatus.TOO_LARGE,
}


class SessionLostError(Exception):
    """The session ended before it gave an answer."""


class ClamdSession:
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
        """Have `octets` scanned.  Raises SessionLostError, BadClamdReplyError, and TemporaryError for an error that clamd reports."""
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
        """What clamd is, and its signatures.  Raises SessionLostError, BadClamdReplyError."""
        self._number += 1
        head, self._head = self._head, b""
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, head + VERSION)
        except OSError as error:
            raise SessionLostError(error_text(error)) from None
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
                raise SessionLostError(error_text(error)) from None
            if not data:
                said = reader.so_far
                raise SessionLostError(f"hung up{f', having said: {said}' if said else ''}")
            reply = reader.feed(data)
            if reply is not None:
                return reply


async def open_session(address: str) -> ClamdSession:
    """A session with the clamd at `address` (malware.clamd).  Raises OSError, that of the last address that was tried."""
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return ClamdSession(await _connect(socket.AF_UNIX, rest))
    failure = OSError("the name has no address")
    loop = asyncio.get_running_loop()
    try:
        places = await loop.getaddrinfo(*split_tcp(rest), type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError("no server can have this name") from None
    for family, _, _, _, place in places:
        try:
            sock = await _connect(family, place)
        except OSError as error:
            failure = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ClamdSession(sock)
    raise failure


async def _connect(family: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)  # type: ignore[arg-type]  # a path or a tuple
    except BaseException:
        sock.close()
        raise
    return sock


def error_text(error: OSError) -> str:
    """What the system says, without addresses."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error) or type(error).__name__
