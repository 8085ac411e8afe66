"""Owns a name server on loopback that says what a test wants, octet by octet.  Not part of the product."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import dns.message
import dns.rcode
import dns.rrset

from filterd.adapters.dns_client import Server

RIGHT, FORGED = "192.0.2.1", "192.0.2.66"


def answer_to(data: bytes, *addresses: str, flags: int = 0, rcode: str = "NOERROR") -> bytes:
    """An answer to the question `data` as a good server would give it, with these A records."""
    query = dns.message.from_wire(data)
    response = dns.message.make_response(query)
    response.flags |= flags
    response.set_rcode(dns.rcode.from_text(rcode))
    if addresses:
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", *addresses))
    return response.to_wire(max_size=65535)


def right(data: bytes) -> bytes:
    """The true answer."""
    return answer_to(data, RIGHT)


def truncated(data: bytes) -> bytes:
    """TC and no records."""
    return answer_to(data, flags=0x0200)


def in_other_letters(data: bytes) -> bytes:
    """The question with the case of every letter changed."""
    return data[:12] + data[12:-11].swapcase() + data[-11:]


def for_another_name(data: bytes) -> bytes:
    """The question with another first letter."""
    return data[:13] + bytes((data[13] ^ 3,)) + data[14:]


def framed(message: bytes) -> bytes:
    """As it goes over TCP."""
    return len(message).to_bytes(2) + message


class Liar(asyncio.DatagramProtocol):
    """A server on 127.0.0.1 that sends what a test wants.

    Attributes:
        says: the datagrams for one question, in order.
        over_tcp: the octets for one question and whether the connection then stays open; None: refused connections.
        seen: questions over UDP, with their source ports; `seen_tcp`: those over TCP.
        before: called with each question over UDP and where it came from.
    """

    def __init__(self) -> None:
        self.says: Callable[[bytes], list[bytes]] = lambda data: [right(data)]
        self.over_tcp: Callable[[bytes], tuple[bytes, bool]] | None = lambda data: (framed(right(data)), True)
        self.seen: list[tuple[bytes, int]] = []
        self.seen_tcp: list[bytes] = []
        self.before: Callable[[bytes, tuple[str, int]], object] = lambda data, address: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.seen.append((data, addr[1]))
        self.before(data, addr)
        for datagram in self.says(data):
            self.transport.sendto(datagram, addr)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            self.seen_tcp.append(data)
            assert self.over_tcp is not None
            octets, stays = self.over_tcp(data)
            writer.write(octets)
            await writer.drain()
            if stays:
                await reader.read()  # until the client goes
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def lying(liar: Liar) -> AsyncIterator[Server]:
    """The running server, as the client knows it."""
    loop = asyncio.get_running_loop()
    tcp = await asyncio.start_server(liar.connected, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    if liar.over_tcp is None:
        tcp.close()
        await tcp.wait_closed()
    await loop.create_datagram_endpoint(lambda: liar, local_addr=("127.0.0.1", port))
    try:
        yield Server("127.0.0.1", port)
    finally:
        liar.transport.close()
        tcp.close()
        await tcp.wait_closed()
        await settled(lambda: len(asyncio.all_tasks()) == 1)


async def settled(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition`."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the loop does not come to rest")
