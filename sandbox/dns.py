"""Owns a small authoritative DNS server, UDP and TCP, over zones in memory.  RFC 1034 4.3.2, RFC 1035 4.2, RFC 6891.

For trying filterd out and as the double of DNS in tests, which can make names fail.  Must not know what is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import textwrap
from collections import deque
from collections.abc import Mapping
from typing import Literal, Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

Failure = Literal["servfail", "refused", "drop", "truncate"]
_UDP_PLAIN = 512  # RFC 1035 4.2.1: without EDNS
_MAX_ALIASES = 8
_TCP_IDLE = 10.0  # seconds
# What a resolver hands on from the root about a name that nobody has: without an SOA "no" is not to be kept (RFC 2308 5).
_ROOT = dns.rrset.from_text(".", 300, "IN", "SOA", "ns.invalid. hostmaster.invalid. 1 3600 600 86400 300")


def parse_zones(zones: Mapping[str, str]) -> dict[dns.name.Name, dns.zone.Zone]:
    """Zone texts by origin as zones.  A missing SOA is made up, so that a test may give two lines.

    Raises ValueError naming the zone whose text cannot be read.
    """
    parsed = {}
    for origin, indented in zones.items():
        text = textwrap.dedent(indented)
        if " SOA " not in text:
            text = f"$TTL 300\n@ 300 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 60\n{text}"
        try:
            zone = dns.zone.from_text(text, origin=origin, relativize=False, check_origin=False)
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(f"zone {origin}: {error}") from error
        assert zone.origin is not None
        parsed[zone.origin] = zone
    return parsed


class SandboxDns:
    """The server.  Use it as `async with SandboxDns({"example.org": "..."}) as dns:` and ask `dns.port`.

    Names outside all zones do not exist.  CNAMEs are followed, so it can stand in for a resolver.

    Attributes:
        failures: lower-case name without final dot -> how a question for it fails: servfail, refused, drop (no answer
            at all), truncate (TC bit over UDP, whole over TCP).
        questions: (name, type) asked, oldest first (the last 10,000).
    """

    def __init__(self, zones: Mapping[str, str], host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.failures: dict[str, Failure] = {}
        self.questions: deque[tuple[str, str]] = deque(maxlen=10_000)
        self._zones = parse_zones(zones)
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def set_zone(self, origin: str, text: str) -> None:
        """Replace or add one zone, also while running.  Raises ValueError."""
        self._zones |= parse_zones({origin: text})

    async def start(self) -> None:
        """Listen on the same port for UDP and TCP; `port` is then the real port.  Raises OSError."""
        loop = asyncio.get_running_loop()
        for attempt in range(10):  # a free TCP port may be taken for UDP
            self._tcp = await asyncio.start_server(self._accept, self.host, self.port)
            port = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), (self.host, port))
            except OSError:
                self._tcp.close()
                if self.port or attempt == 9:
                    raise
            else:
                self.port = port
                return

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tcp is not None:
            await self._tcp.wait_closed()
        self._udp = self._tcp = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    wire = await reader.readexactly(length)
                if (answer := self.answer(wire, over_tcp=True)) is not None:
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client's business, or stop()
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def answer(self, wire: bytes, *, over_tcp: bool) -> bytes | None:
        """The answer to one question in wire form; None when there shall be none."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        name, rdtype = query.question[0].name, query.question[0].rdtype
        text = name.to_text(omit_final_dot=True).lower()
        self.questions.append((text, dns.rdatatype.to_text(rdtype)))
        failure = self.failures.get(text)
        if failure == "drop":
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if failure == "servfail":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif failure == "refused":
            response.set_rcode(dns.rcode.REFUSED)
        elif failure == "truncate" and not over_tcp:
            response.flags |= dns.flags.TC
        else:
            self._look_up(response, name, rdtype)
        room = 65535 if over_tcp else max(_UDP_PLAIN, query.payload)
        try:
            return response.to_wire(max_size=room)
        except dns.exception.TooBig:
            short = dns.message.make_response(query, recursion_available=True)
            short.flags |= dns.flags.TC
            return short.to_wire(max_size=room)

    def _look_up(self, response: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
        """Fill in the answer and the code.  RFC 1034 4.3.2 without delegations and wildcards."""
        response.flags |= dns.flags.AA
        for _ in range(_MAX_ALIASES):
            zone = self._zone_of(name)
            if zone is None or zone.origin is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                response.authority.append(_ROOT)
                return
            node = zone.get_node(name)
            exists = node is not None or any(other.is_subdomain(name) for other in zone)
            if not exists:
                response.set_rcode(dns.rcode.NXDOMAIN)
            found = node.get_rdataset(zone.rdclass, rdtype) if node else None
            alias = node.get_rdataset(zone.rdclass, dns.rdatatype.CNAME) if node and found is None else None
            if found is not None:
                response.answer.append(_rrset(name, found))
                return
            if alias is None:
                if (soa := zone.get_rdataset(zone.origin, dns.rdatatype.SOA)) is not None:
                    response.authority.append(_rrset(zone.origin, soa))  # how long "no" may be kept
                return
            response.answer.append(_rrset(name, alias))
            name = alias[0].target
        response.set_rcode(dns.rcode.SERVFAIL)

    def _zone_of(self, name: dns.name.Name) -> dns.zone.Zone | None:
        """The zone with the longest origin that `name` lies in."""
        while True:
            if name in self._zones:
                return self._zones[name]
            if not name.labels or name == dns.name.root:
                return None
            name = name.parent()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: SandboxDns) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # its class does not derive from that one in 3.11

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data, over_tcp=False)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _rrset(name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))
