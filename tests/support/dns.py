"""Owns the in-memory double of ports.Resolver and a small real DNS server on loopback.  Not part of the product."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.ports import DnsAnswer, DnsStatus

Records = Mapping[tuple[str, str], list[str]]


class MapResolver:
    """Answers from a table.

    Attributes:
        records: (name, type) -> records in the form of DnsAnswer.records; names without final dot, any case.
        failing: names, or (name, type) pairs, for which every question is SERVFAIL.
        asked: the questions so far, in order.
    """

    def __init__(
        self,
        records: Records | None = None,
        failing: Collection[str | tuple[str, str]] = (),
        ttl: int = 300,
        kind: str = "servfail",
    ) -> None:
        self.records = {(n.lower(), t.upper()): list(v) for (n, t), v in (records or {}).items()}
        self.failing = {
            item.lower() if isinstance(item, str) else (item[0].lower(), item[1].upper()) for item in failing
        }
        self.ttl = ttl
        self.kind = kind
        self.asked: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
        """As ports.Resolver says."""
        name, rdtype = name.lower().removesuffix("."), rdtype.upper()
        self.asked.append((name, rdtype))
        await asyncio.sleep(0)
        if deadline.expired:
            raise TemporaryError("no time left", "timeout")
        for _ in range(9):
            if name in self.failing or (name, rdtype) in self.failing:
                raise TemporaryError(f"{name} fails in this test", self.kind)
            labels = name.split(".")
            if not all(0 < len(label) < 64 and label.isascii() for label in labels) or len(name) > 253:
                return DnsAnswer(DnsStatus.NXDOMAIN)
            found = self.records.get((name, rdtype))
            if found:
                return DnsAnswer(DnsStatus.NOERROR, tuple(found), self.ttl)
            alias = self.records.get((name, "CNAME"))
            if not alias:
                exists = any(n == name or n.endswith("." + name) for n, _ in self.records)
                return DnsAnswer(DnsStatus.NODATA if exists else DnsStatus.NXDOMAIN, (), self.ttl)
            name = alias[0].lower().removesuffix(".")
        return DnsAnswer(DnsStatus.NODATA)


class LoopbackDns:
    """A DNS server on 127.0.0.1 (UDP and TCP on one port the kernel chose) that answers like MapResolver.

    Attributes:
        server: "127.0.0.1:port", as DnsResolver takes it.
        questions: how often each (name, type, "udp" or "tcp") was asked.
        silent: names that get no answer at all.
        answers: while not set, no answer is sent (for tests of shared questions).
        follow: whether CNAMEs are followed in one answer.
    """

    def __init__(self, records: Records, failing: Collection[str | tuple[str, str]] = (), ttl: int = 300) -> None:
        self.table = MapResolver(records, failing, ttl)
        self.server = ""
        self.questions: list[tuple[str, str, str]] = []
        self.silent: set[str] = set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.follow = True
        self.soa_minimum = 60

    async def answer(self, wire: bytes, transport: str) -> bytes | None:
        """The reply to one question."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, rdtype = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, rdtype, transport))
        await self.answers.wait()
        if name in self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        records = self.table.records
        for _ in range(9):
            if name in self.table.failing or (name, rdtype) in self.table.failing:
                response.set_rcode(dns.rcode.SERVFAIL)
                return response.to_wire()
            found, alias = records.get((name, rdtype)), records.get((name, "CNAME"))
            if found:
                texts = [_rdata_text(rdtype, item) for item in found]
                response.answer.append(dns.rrset.from_text(name + ".", self.table.ttl, "IN", rdtype, *texts))
                break
            if not alias:
                if not any(n == name or n.endswith("." + name) for n, _ in records):
                    response.set_rcode(dns.rcode.NXDOMAIN)
                soa = f"ns.test. mail.test. 1 2 3 4 {self.soa_minimum}"
                response.authority.append(dns.rrset.from_text(".", 3600, "IN", "SOA", soa))
                break
            cname = dns.rrset.from_text(name + ".", self.table.ttl, "IN", "CNAME", alias[0] + ".")
            if cname in response.answer:
                break
            response.answer.append(cname)
            if not self.follow:
                break
            name = alias[0].lower()
        if transport == "udp" and len(response.to_wire(max_size=65535)) > 1232:
            response.answer.clear()
            response.flags |= dns.flags.TC
        return response.to_wire(max_size=65535)


def _rdata_text(rdtype: str, text: str) -> str:
    if rdtype == "TXT":
        raw = text.encode("latin-1")
        pieces = [raw[i : i + 255] for i in range(0, len(raw), 255)] or [b""]
        return " ".join('"' + "".join(f"\\{octet:03d}" for octet in piece) + '"' for piece in pieces)
    if rdtype in ("MX", "PTR", "CNAME"):
        return text if text.endswith(".") else text + "."
    return text


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, owner: LoopbackDns) -> None:
        self.owner = owner
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.ensure_future(self._reply(data, addr))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        wire = await self.owner.answer(data, "udp")
        if wire is not None and not self.transport.is_closing():
            self.transport.sendto(wire, addr)


@asynccontextmanager
async def loopback_dns(
    records: Records, failing: Collection[str | tuple[str, str]] = (), ttl: int = 300
) -> AsyncIterator[LoopbackDns]:
    """A running LoopbackDns."""
    owner = LoopbackDns(records, failing, ttl)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await owner.answer(await reader.readexactly(length), "tcp")
                if wire is not None:
                    writer.write(struct.pack("!H", len(wire)) + wire)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    tcp = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    udp, protocol = await loop.create_datagram_endpoint(lambda: _Udp(owner), local_addr=("127.0.0.1", port))
    owner.server = f"127.0.0.1:{port}"
    try:
        yield owner
    finally:
        for task in list(protocol.tasks):
            task.cancel()
        udp.close()
        tcp.close()
