"""Owns the questions to DNS: servers, fail-over, cache, one shared question for many waiters.  RFC 1035, 2308, 6891, 7766.

The only file that imports dnspython.  Must not know why somebody asks, nor what an answer means for mail.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from filterd.deadline import Deadline
from filterd.errors import ConfigError, TemporaryError
from filterd.ports import DnsAnswer, DnsStatus

MAX_TTL = 3600  # seconds; an answer is never kept longer than an hour, whatever it says
MAX_NEGATIVE_TTL = 900  # RFC 2308 section 5 allows hours; a sender who has just published a record shall not wait them
MAX_IN_FLIGHT = 500  # questions under way in one process: each has a socket of its own (random source port)
MAX_CHAIN = 8  # CNAMEs followed with questions of our own, when the server did not follow them
MAX_CACHED_OCTETS = 4096  # larger answers are not kept, so that the cache is bounded in octets too
PAYLOAD = 1232  # octets of UDP: what survives without fragments (DNS flag day 2020)
_KINDS = {dns.rcode.SERVFAIL: "servfail", dns.rcode.REFUSED: "refused"}
_Key = tuple[str, str]


class DnsResolver:
    """A caching stub resolver (ports.Resolver).

    Attributes:
        timeout_seconds: longest wait for one question, all servers together.
        cache_entries: answers kept, 0 for none.
    """

    def __init__(
        self,
        servers: tuple[str, ...] = (),
        timeout_seconds: float = 3.0,
        cache_entries: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`servers`: address, address:port or [v6]:port; empty for those of resolv.conf.  Raises ConfigError."""
        self._servers = [_endpoint(server) for server in servers or _system_servers()]
        self._preferred = 0
        self.timeout_seconds = timeout_seconds
        self.cache_entries = cache_entries
        self._clock = clock
        self._cache: OrderedDict[_Key, tuple[float, DnsAnswer]] = OrderedDict()
        self._in_flight: dict[_Key, asyncio.Task[DnsAnswer | TemporaryError]] = {}

    async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
        """The answer, CNAMEs followed; a name that cannot stand in DNS does not exist.

        Raises TemporaryError(kind): timeout, servfail, refused, unreachable, busy, broken.
        """
        key = (name.lower().removesuffix("."), rdtype.upper())
        cached = self._from_cache(key)
        if cached is not None:
            return cached
        question = _question(key[0])
        if question is None:
            return DnsAnswer(DnsStatus.NXDOMAIN)
        if deadline.expired:
            raise TemporaryError(f"no time left to ask for {rdtype} of {name[:100]}", "timeout")
        task = self._in_flight.get(key)
        if task is None:
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                raise TemporaryError(f"more than {MAX_IN_FLIGHT} questions under way", "busy")
            task = asyncio.create_task(self._ask(key, question), name=f"dns {key[1]}")
            self._in_flight[key] = task
            task.add_done_callback(lambda _task: self._in_flight.pop(key, None))
        try:
            # the shield: one waiter's cancellation or earlier deadline must not take the answer from the others
            outcome = await asyncio.wait_for(asyncio.shield(task), deadline.remaining)
        except TimeoutError:
            raise TemporaryError(f"no answer in time for {rdtype} of {name[:100]}", "timeout") from None
        if isinstance(outcome, TemporaryError):
            raise TemporaryError(str(outcome), outcome.kind)
        return outcome

    async def close(self) -> None:
        """End the questions under way; whoever waits for one is cancelled with it."""
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _from_cache(self, key: _Key) -> DnsAnswer | None:
        found = self._cache.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            del self._cache[key]
            return None
        self._cache.move_to_end(key)
        return found[1]

    def _keep(self, key: _Key, answer: DnsAnswer) -> None:
        if answer.ttl <= 0 or self.cache_entries <= 0 or sum(map(len, answer.records)) > MAX_CACHED_OCTETS:
            return
        while len(self._cache) >= self.cache_entries:
            self._cache.popitem(last=False)
        self._cache[key] = (self._clock() + answer.ttl, answer)

    async def _ask(self, key: _Key, question: dns.name.Name) -> DnsAnswer | TemporaryError:
        """One shared question; failures are returned, because a task nobody waits for any more may not raise."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                answer = await self._follow(question, key[1])
        except TimeoutError:
            return TemporaryError(f"no server answered for {key[1]} of {key[0][:100]}", "timeout")
        except TemporaryError as error:
            return error
        self._keep(key, answer)
        return answer

    async def _follow(self, name: dns.name.Name, rdtype: str) -> DnsAnswer:
        ttl = MAX_TTL
        for _ in range(MAX_CHAIN):
            response = await self._exchange(name, rdtype)
            try:
                chain = response.resolve_chaining()
            except dns.message.ChainTooLong:
                return DnsAnswer(DnsStatus.NODATA, ttl=60)  # a loop of CNAMEs never has data; look again in a minute
            except dns.exception.DNSException as error:
                raise TemporaryError(f"the answer for {rdtype} contradicts itself: {error}", "broken") from None
            ttl = min(ttl, int(chain.minimum_ttl))
            authentic = bool(response.flags & dns.flags.AD)
            if chain.answer is not None:
                return DnsAnswer(DnsStatus.NOERROR, _records(chain.answer), ttl, authentic)
            negative_ttl = min(ttl, MAX_NEGATIVE_TTL)
            if response.rcode() == dns.rcode.NXDOMAIN:
                return DnsAnswer(DnsStatus.NXDOMAIN, (), negative_ttl, authentic)
            finished = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
            if not chain.cnames or finished:
                return DnsAnswer(DnsStatus.NODATA, (), negative_ttl, authentic)
            name = chain.canonical_name
        return DnsAnswer(DnsStatus.NODATA, ttl=60)

    async def _exchange(self, name: dns.name.Name, rdtype: str) -> dns.message.QueryMessage:
        """One answer from the first server that gives a usable one; every server is asked, a lone server twice."""
        order = [(self._preferred + i) % len(self._servers) for i in range(max(2, len(self._servers)))]
        ends = time.monotonic() + self.timeout_seconds
        failed: dict[int, TemporaryError] = {}
        last = TemporaryError("no server could be asked", "timeout")
        for position, index in enumerate(order):
            if index in failed and failed[index].kind != "timeout":
                continue  # a server that said no says it again; only silence is worth a second question
            address, port = self._servers[index]
            message = dns.message.make_query(name, rdtype, use_edns=0, payload=PAYLOAD)
            message.flags |= dns.flags.AD  # RFC 6840 5.7: tell us whether DNSSEC holds
            patience = max(0.05, (ends - time.monotonic()) / (len(order) - position))
            try:
                response, _ = await dns.asyncquery.udp_with_fallback(
                    message, address, patience, port, ignore_unexpected=True, ignore_errors=True, ignore_trailing=True
                )
            except dns.exception.Timeout:
                last = failed[index] = TemporaryError(f"{address} does not answer", "timeout")
            except dns.exception.DNSException as error:
                last = failed[index] = TemporaryError(f"{address} answers nonsense: {error}", "broken")
            except (OSError, EOFError) as error:
                last = failed[index] = TemporaryError(f"{address} cannot be reached: {error}", "unreachable")
            else:
                rcode = response.rcode()
                if rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) and isinstance(response, dns.message.QueryMessage):
                    self._preferred = index
                    return response
                kind = _KINDS.get(rcode, "broken")
                last = failed[index] = TemporaryError(f"{address} answers {dns.rcode.to_text(rcode)}", kind)
        raise last


def _question(name: str) -> dns.name.Name | None:
    """The name as DNS labels, None when it cannot be one.  Nothing in it is an escape: it came from outside."""
    try:
        return dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])
    except (UnicodeError, dns.exception.DNSException):
        return None


def _records(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    out = []
    for rdata in rrset:
        if rrset.rdtype == dns.rdatatype.TXT:
            out.append(b"".join(rdata.strings).decode("latin-1"))
        elif rrset.rdtype == dns.rdatatype.MX:
            out.append(f"{rdata.preference} {rdata.exchange.to_text(omit_final_dot=True)}")
        elif rrset.rdtype in (dns.rdatatype.PTR, dns.rdatatype.CNAME, dns.rdatatype.NS):
            out.append(rdata.target.to_text(omit_final_dot=True))
        else:
            out.append(rdata.to_text())
    return tuple(out)


def _endpoint(text: str) -> tuple[str, int]:
    """address, address:port, [v6], [v6]:port."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else rest or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not dns.inet.is_address(host) or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError([f"dns.servers: address, address:port or [v6]:port is expected, {text!r} stands there"])
    return host, int(port)


def _system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The nameservers of resolv.conf; the loopback address when it names none, as the C library does."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    found = [w[1].partition("%")[0] for w in words if len(w) > 1 and w[0] == "nameserver"]
    usable = tuple(f"[{a}]" if ":" in a else a for a in found if dns.inet.is_address(a))
    return usable or ("127.0.0.1",)
