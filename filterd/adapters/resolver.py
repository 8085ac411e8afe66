"""Owns the questions to DNS: cache, one shared question for many waiters, fail-over, CNAMEs across answers.  RFC 1035, 2308.

Must not know why somebody asks, nor what an answer means for mail, nor how one server is asked (dns_client).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from filterd.adapters.dns_client import Server, ask
from filterd.adapters.dns_meters import Meters, ZoneMeter
from filterd.adapters.dns_rare import ask_rare
from filterd.deadline import Deadline
from filterd.errors import ConfigError, TemporaryError
from filterd.mail.network import is_ip, parse_endpoint
from filterd.ports import DnsAnswer, DnsStatus
from filterd.wire.dns_answer import NOERROR, NXDOMAIN, RCODES, REFUSED, SERVFAIL, Answer
from filterd.wire.dns_query import TYPES, encode_name

MAX_TTL = 3600  # seconds; an answer is never kept longer than an hour, whatever it says
MAX_NEGATIVE_TTL = 900  # RFC 2308 section 5 allows hours; a sender who has just published a record shall not wait them
MAX_IN_FLIGHT = 500  # questions under way in one process: each has a socket of its own (random source port)
MAX_CHAIN = 8  # CNAMEs followed with questions of our own, when the server did not follow them
MAX_CACHED_OCTETS = 4096  # of one answer; larger ones are not kept
CACHED_OCTETS = (
    512  # per entry allowed, all together: names and records of the whole cache, so that it is bounded in octets
)
_LOOP_TTL = 60  # a loop of CNAMEs never has data; look again in a minute
_KINDS = {SERVFAIL: "servfail", REFUSED: "refused"}
_Key = tuple[str, str]


class DnsResolver:
    """A caching stub resolver (ports.Resolver).

    Failures are not kept (RFC 2308 section 7.1 would allow it): the resolver that we ask keeps its own for some seconds, and
    waiters share one question, so that keeping would save little and make a short trouble longer.

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
        zones: Sequence[str] = (),
    ) -> None:
        """`servers`: address, address:port or [v6]:port; empty for those of resolv.conf.  Raises ConfigError.

        `zones`: names that have metrics of their own.
        """
        self._servers = [_endpoint(server) for server in servers or _system_servers()]
        self._preferred = 0
        self.timeout_seconds = timeout_seconds
        self.cache_entries = cache_entries
        self._clock = clock
        self._meters = Meters(zones)
        self._cache: OrderedDict[_Key, tuple[float, DnsAnswer]] = OrderedDict()
        self._cached_octets = 0
        self._in_flight: dict[_Key, asyncio.Task[DnsAnswer | TemporaryError]] = {}  # oldest first
        self._closed = False

    async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
        """The answer, CNAMEs followed; a name that cannot stand in DNS does not exist.

        Raises TemporaryError(kind): timeout, servfail, refused, unreachable, busy, broken.
        """
        if not name.isascii():  # before lower(), which makes an ASCII k of the Kelvin sign
            return DnsAnswer(DnsStatus.NXDOMAIN)
        key = (name.lower().removesuffix("."), rdtype.upper())
        meter = self._meters.of(key[0])
        meter.lookups.inc()
        cached = self._from_cache(key)
        if cached is not None:
            meter.hits.inc()
            return cached
        try:
            return await self._shared(key, meter, deadline)
        except TemporaryError as error:
            meter.failed(error.kind)
            raise

    async def _shared(self, key: _Key, meter: ZoneMeter, deadline: Deadline) -> DnsAnswer:
        """The outcome of the question under way for `key`; begins one when there is none."""
        question = encode_name(key[0])
        if question is None:
            return DnsAnswer(DnsStatus.NXDOMAIN)
        if deadline.expired:
            raise TemporaryError(f"no time left to ask for {key[1]} of {key[0][:100]}", "timeout")
        task = self._in_flight.get(key)
        if task is None:
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                # the oldest gives way: an honest name has its answer in milliseconds, and names whose servers keep silent,
                # which cost an attacker nothing, must not keep all others from being asked for
                self._in_flight.pop(next(iter(self._in_flight))).cancel()
            task = asyncio.create_task(self._ask(key, question, meter), name=f"dns {key[1]}")
            self._in_flight[key] = task
            task.add_done_callback(lambda ended: self._ended(key, ended))
        # wait() leaves the task alone: one waiter's cancellation or earlier deadline must not take the answer from the others
        done, _ = await asyncio.wait((task,), timeout=deadline.remaining)
        if not done:
            raise TemporaryError(f"no answer in time for {key[1]} of {key[0][:100]}", "timeout")
        if task.cancelled() and not self._closed:
            raise TemporaryError(f"gave way: more than {MAX_IN_FLIGHT} questions under way", "busy")
        outcome = task.result()
        if isinstance(outcome, TemporaryError):
            raise TemporaryError(str(outcome), outcome.kind)
        return outcome

    def _ended(self, key: _Key, task: asyncio.Task[DnsAnswer | TemporaryError]) -> None:
        if self._in_flight.get(key) is task:  # one that gave way may have been asked again
            del self._in_flight[key]

    async def close(self) -> None:
        """End the questions under way; whoever waits for one is cancelled with it."""
        self._closed = True
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---------------------------------------------------------------- cache

    def _from_cache(self, key: _Key) -> DnsAnswer | None:
        found = self._cache.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            self._drop(key)
            return None
        self._cache.move_to_end(key)
        return found[1]

    def _keep(self, key: _Key, answer: DnsAnswer) -> None:
        octets = _octets(key, answer)
        if answer.ttl <= 0 or self.cache_entries <= 0 or octets > MAX_CACHED_OCTETS:
            return
        self._cache[key] = (self._clock() + answer.ttl, answer)
        self._cached_octets += octets
        room = max(MAX_CACHED_OCTETS, self.cache_entries * CACHED_OCTETS)
        while len(self._cache) > self.cache_entries or self._cached_octets > room:
            self._drop(next(iter(self._cache)))

    def _drop(self, key: _Key) -> None:
        found = self._cache.pop(key, None)
        if found is not None:
            self._cached_octets -= _octets(key, found[1])

    # ---------------------------------------------------------------- one question

    async def _ask(self, key: _Key, question: bytes, meter: ZoneMeter) -> DnsAnswer | TemporaryError:
        """One shared question; failures are returned, because a task nobody waits for any more may not raise."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            answer = await self._follow(question, key[1], started + self.timeout_seconds)
        except TemporaryError as error:
            return error
        finally:
            meter.seconds.observe(loop.time() - started)
        self._keep(key, answer)
        return answer

    async def _follow(self, name: bytes, rdtype: str, ends: float) -> DnsAnswer:
        ttl = MAX_TTL
        authentic = True
        for _ in range(MAX_CHAIN):
            answer = await self._exchange(name, rdtype, ends)
            if answer.endless:
                break
            ttl = min(ttl, answer.ttl)
            authentic = authentic and answer.authentic  # a chain is worth as much as its weakest link
            if answer.records:
                return DnsAnswer(DnsStatus.NOERROR, answer.records, ttl, authentic)
            # RFC 2308 section 5: without an SOA nobody said how long the absence may be kept
            negative_ttl = min(ttl, MAX_NEGATIVE_TTL, answer.negative_ttl or 0)
            if answer.rcode == NXDOMAIN:
                return DnsAnswer(DnsStatus.NXDOMAIN, (), negative_ttl, authentic)
            if not answer.aliases or answer.negative_ttl is not None:
                return DnsAnswer(DnsStatus.NODATA, (), negative_ttl, authentic)
            name = answer.end
        return DnsAnswer(DnsStatus.NODATA, ttl=_LOOP_TTL)

    async def _exchange(self, name: bytes, rdtype: str, ends: float) -> Answer:
        """One answer from the first server that gives a usable one; every server is asked, a lone server twice."""
        loop = asyncio.get_running_loop()
        count = len(self._servers)
        attempts = max(2, count)
        failed: dict[int, TemporaryError] = {}
        last = TemporaryError("no time left for a server", "timeout")
        first = self._preferred
        for position in range(attempts):
            index = (first + position) % count
            if index in failed and failed[index].kind != "timeout":
                continue  # a server that said no says it again; only silence is worth a second question
            now = loop.time()
            if now >= ends:
                break
            server, until = self._servers[index], now + (ends - now) / (attempts - position)
            try:
                number = TYPES.get(rdtype)
                if number is None:
                    answer = await ask_rare(server, name, rdtype, until)
                else:
                    answer = await ask(server, name, number, until)
            except TemporaryError as error:
                last = failed[index] = error
                continue
            if answer.rcode in (NOERROR, NXDOMAIN) and not answer.referral:
                self._preferred = index
                return answer
            last = failed[index] = _refusal(server, answer)
        raise last


def _refusal(server: Server, answer: Answer) -> TemporaryError:
    if answer.referral:
        return TemporaryError(f"{server} points to other servers: it does not resolve", "broken")
    said = RCODES.get(answer.rcode, f"code {answer.rcode}")
    return TemporaryError(f"{server} answers {said}", _KINDS.get(answer.rcode, "broken"))


def _octets(key: _Key, answer: DnsAnswer) -> int:
    return len(key[0]) + sum(map(len, answer.records))


def _endpoint(text: str) -> Server:
    try:
        return Server(*parse_endpoint(text, 53))
    except ValueError as error:
        raise ConfigError([f"dns.servers: {error}, {text!r} stands there"]) from None


def _system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The nameservers of resolv.conf; the loopback address when it names none, as the C library does."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    found = [w[1].partition("%")[0] for w in words if len(w) > 1 and w[0] == "nameserver"]
    usable = tuple(f"[{a}]" if ":" in a else a for a in found if is_ip(a))
    return usable or ("127.0.0.1",)
