"""Owns one question to one name server: UDP, then TCP; what a spoofer would have to guess; what a server cannot do.

RFC 1035 section 4.2, RFC 5452, RFC 6891 section 7, RFC 7766.  A forged answer needs the id (16 bits), the source port (the
kernel's choice among some 28,000 for each question), the server's address (connect: the kernel drops others), and the case
of every letter of the name.  Must not know other servers, the cache, nor what an answer means.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import dataclass

from filterd import metrics
from filterd.errors import TemporaryError
from filterd.wire.dns_answer import BADVERS, FORMERR, MAX_MESSAGE, NOERROR, NOTIMP, NXDOMAIN, Answer, read_answer
from filterd.wire.dns_query import HEADER, PAYLOAD, DnsMessageError, Match, Query, build_query, match

log = logging.getLogger(__name__)

MAX_STRANGERS = (
    8  # datagrams on one question's port that answer something else; that port is being guessed at: ask over TCP
)
_NO_EDNS = frozenset({FORMERR, NOTIMP, BADVERS})  # RFC 6891 section 7: how servers say that they do not know EDNS


@dataclass(eq=False)
class Server:
    """A name server and what was learnt about it; forgotten with this object, that is at a reload or restart.

    Attributes:
        edns: it understands EDNS.
        keeps_case: it repeats the case of letters.  Only an answer over TCP, which nobody can forge from elsewhere, shows
            that it does not; from then on id and port alone protect its UDP answers.
    """

    address: str
    port: int = 53
    edns: bool = True
    keeps_case: bool = True

    def __post_init__(self) -> None:
        self.family = socket.AF_INET6 if ":" in self.address else socket.AF_INET

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


async def ask(server: Server, name: bytes, rdtype: int, until: float) -> Answer:
    """What `server` says before `until` (of the loop's clock), whatever its rcode.

    Raises TemporaryError: timeout, unreachable, or broken when it cannot be understood.
    """
    try:
        answer = await _ask(server, name, rdtype, until, server.edns)
        if server.edns and answer.rcode in _NO_EDNS:
            answer = await _ask(server, name, rdtype, until, False)
            if answer.rcode in (NOERROR, NXDOMAIN):  # so it was EDNS, and not this question
                server.edns = False
                log.warning("name server without EDNS: long answers take TCP", extra={"server": str(server)})
    except TimeoutError:
        raise TemporaryError(f"{server} does not answer", "timeout") from None
    except OSError as error:
        raise TemporaryError(f"{server} cannot be reached: {error}", "unreachable") from None
    except DnsMessageError as error:
        raise TemporaryError(f"{server} answers nonsense: {error}", "broken") from None
    return answer


async def _ask(server: Server, name: bytes, rdtype: int, until: float, edns: bool) -> Answer:
    query = build_query(name, rdtype, os.urandom(2 + len(name)), edns=edns, mixed_case=server.keeps_case)
    data = await _Datagram(server, query).exchange(until)
    if data is not None:
        answer = read_answer(query, data)
        if not answer.truncated:
            return answer
    data = await _over_tcp(server, query, until)
    found = match(query, data)
    if found is Match.STRANGER:
        raise DnsMessageError("over TCP it answers something else")
    if found is Match.OTHER_CASE and server.keeps_case:
        server.keeps_case = False
        log.warning("name server changes the case of names: forgeries are easier", extra={"server": str(server)})
    answer = read_answer(query, data)
    if answer.truncated:
        raise DnsMessageError("it truncates over TCP")
    return answer


class _Datagram:
    """One question over UDP, with a socket of its own.

    Not from a pool: whoever runs a zone that we ask for learns the ports of a pool, and then guesses the id alone.
    """

    def __init__(self, server: Server, query: Query) -> None:
        self._server = server
        self._query = query
        self._strangers = 0

    async def exchange(self, until: float) -> bytes | None:
        """The answer; None when TCP shall be asked: too long, in other letters, or somebody else answers all the time.

        Raises TimeoutError, OSError.
        """
        loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[bytes | None] = loop.create_future()
        with socket.socket(self._server.family, socket.SOCK_DGRAM) as self._socket:
            self._socket.setblocking(False)
            self._socket.connect((self._server.address, self._server.port))
            self._socket.send(self._query.wire)
            fd = self._socket.fileno()
            loop.add_reader(fd, self._readable)
            timer = loop.call_at(until, self._late)
            try:
                return await self._answer
            finally:
                timer.cancel()
                loop.remove_reader(fd)

    def _late(self) -> None:
        if not self._answer.done():
            self._answer.set_exception(TimeoutError())

    def _readable(self) -> None:
        if self._answer.done():
            return
        try:
            data = self._socket.recv(PAYLOAD + 1)
        except (BlockingIOError, InterruptedError):  # a wrong checksum: woken up for nothing
            return
        except OSError as error:  # ICMP: nobody listens there
            self._answer.set_exception(error)
            return
        found = match(self._query, data)
        if found is Match.ANSWER or (found is Match.OTHER_CASE and not self._server.keeps_case):
            self._answer.set_result(data if len(data) <= PAYLOAD else None)
            return
        metrics.DNS_STRANGERS.inc()
        self._strangers += 1
        if found is Match.OTHER_CASE or self._strangers >= MAX_STRANGERS:
            self._answer.set_result(None)


async def _over_tcp(server: Server, query: Query, until: float) -> bytes:
    """The first message of a connection of its own: rare (RFC 7766 section 6.2.1 would share), and nothing is left to tidy up.

    Raises TemporaryError, DnsMessageError.
    """
    metrics.DNS_OVER_TCP.inc()
    try:
        async with asyncio.timeout_at(until):
            reader, writer = await asyncio.open_connection(server.address, server.port, limit=MAX_MESSAGE)
            try:
                writer.write(len(query.wire).to_bytes(2) + query.wire)  # RFC 7766 section 8: one segment
                length = int.from_bytes(await reader.readexactly(2))
                if not HEADER <= length <= MAX_MESSAGE:
                    raise DnsMessageError(f"it announces {length} octets over TCP")
                return await reader.readexactly(length)
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise TemporaryError(f"{server} does not answer over TCP", "timeout") from None
    except (OSError, asyncio.IncompleteReadError) as error:
        raise TemporaryError(f"{server} cannot be reached over TCP: {error}", "unreachable") from None
