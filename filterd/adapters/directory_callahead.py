"""Owns recipients as a mail server knows them: it is asked by RCPT, with the null reverse-path, and never sent a message.

RFC 5321 3.3, 4.1.1.3, 6.1.  A server that takes an address nobody has says nothing about recipients; it is not believed.
Must not know who asks, nor other sources of recipients.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from filterd import metrics
from filterd.adapters.callahead_link import NO_SMTPUTF8, Prober
from filterd.adapters.directory_backend import ABSTAIN, BackendStatus, DirectoryBackend, Found
from filterd.config import CallAheadConfig
from filterd.deadline import Deadline
from filterd.directory.callahead import Meaning, Memory, Remembered, meaning, nobody_at
from filterd.directory.values import RecipientAnswer, RecipientStatus
from filterd.errors import TemporaryError
from filterd.mail.reply import Reply

log = logging.getLogger(__name__)

_JUDGED_SECONDS = 3600.0  # for so long a server that tells recipients apart is not tested anew
_MAX_DOMAINS = 10_000  # judged at one time; accepted domains of the largest providers
_TAKEN_SECONDS = 60.0  # for so long a recipient that was taken shows that the server does not refuse us
_MAX_TOLD = 20  # domains about which people are told at one time: of *.example.org a client can make up any number
# After a failure nobody waits for the server that long: a server that is silent would cost each RCPT the whole time-out.
_REST_SECONDS = 5.0
REMEDY = "Exchange's Front End takes everybody until after DATA: ask its Transport service, port 2525, with the Recipient Filter agent on"


class CallAheadBackend(DirectoryBackend):
    """Implements DirectoryBackend."""

    name = "callahead"

    def __init__(self, config: CallAheadConfig, hostname: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`hostname` is said in EHLO.  The server is not asked yet."""
        self._config = config
        self._clock = clock
        self._prober = Prober(config, hostname)
        self._memory = Memory(config.cache_entries, config.positive_hours * 3600.0, config.negative_minutes * 60.0)
        self._judged: OrderedDict[str, tuple[bool, float]] = OrderedDict()  # domain -> tells recipients apart, when
        self._tests: dict[str, str] = {}  # domain -> the address that nobody has, until the server has judged it
        self._taken: OrderedDict[str, tuple[str, float]] = OrderedDict()  # domain -> whom it has taken last, when
        self._asking: dict[str, asyncio.Task[Meaning]] = {}
        self._rest_until = float("-inf")
        self._told: set[str] = set()  # domains of which it takes everybody, and people know
        self._problems: dict[str, str] = {}  # by domain, "" for the server itself

    # ------------------------------------------------------------ DirectoryBackend

    async def find(self, local: str, domain: str, deadline: Deadline) -> Found:
        """See DirectoryBackend.find.  A known recipient stays known while the server cannot be asked."""
        if self._config.domains and domain not in self._config.domains:
            return ABSTAIN
        address = f"{local.lower()}@{domain}"
        found = self._memory.fresh(address, self._clock())
        if found is not None and self._tells_apart(domain) is not False:
            known, since = found
            return self._known(since) if known else None
        try:
            return await self._look_up(address, f"{local}@{domain}", domain, deadline)
        except TemporaryError:
            since_then = self._memory.stale(address)
            if since_then is None:
                raise
            return self._known(since_then)

    async def _look_up(self, address: str, written: str, domain: str, deadline: Deadline) -> Found:
        apart = self._tells_apart(domain)
        if apart is None:
            # Both at once: a server that lets everybody wait whom it refuses (TarpitInterval, 5 s) would take too long one by one.
            questions = self.tells_apart(domain, deadline), self._shared(address, written, deadline)
            nobody, answer = await asyncio.gather(*questions, return_exceptions=True)
            if isinstance(nobody, TemporaryError) and answer is Meaning.KNOWN:
                # Nobody knows what it would say of somebody else (4yz for whoever is unknown, a long tarpit): it takes this one.
                return self._known(None)
            if isinstance(nobody, BaseException):
                raise nobody
            if not nobody:
                return ABSTAIN
            if isinstance(answer, BaseException):
                raise answer
            said = answer
            self._remember(address, domain, said)
        elif apart:
            said = await self._shared(address, written, deadline)
        else:
            return ABSTAIN
        if said is Meaning.UNCLEAR:
            return ABSTAIN
        return self._known(None) if said is Meaning.KNOWN else None

    def status(self) -> BackendStatus:
        """What people are told of it; what is known to one process only, so a command that asks nobody knows nothing."""
        everybody = ", ".join(sorted(self._told)[:3])
        notes = (f"{self._server} takes every address of {everybody}: {REMEDY}",) if everybody else ()
        problem = next(iter(self._problems.values()), "")
        return BackendStatus(self.name, notes=notes, problem=problem, usable="" not in self._problems)

    async def refresh(self) -> None:
        """Nothing: what it knows ages by itself."""

    async def close(self) -> None:
        """Take leave; questions under way fail."""
        tasks = tuple(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._prober.close()

    # ------------------------------------------------------------ asking

    @property
    def _server(self) -> str:
        return f"{self._config.host}:{self._config.port}"

    def _known(self, since: Remembered | None) -> RecipientAnswer:
        return RecipientAnswer(RecipientStatus.KNOWN, self.name, since.at_ms if since is not None else None)

    def _tells_apart(self, domain: str) -> bool | None:
        """Whether the server tells known from unknown recipients of the domain; None when that must be tried."""
        found = self._judged.get(domain)
        if found is None:
            return None
        apart, at = found
        return (
            apart if self._clock() - at < (_JUDGED_SECONDS if apart else self._config.negative_minutes * 60.0) else None
        )

    async def tells_apart(self, domain: str, deadline: Deadline) -> bool:
        """Whether the server may be believed about the domain: it refuses, now or lately, an address that nobody has.

        Raises TemporaryError.
        """
        apart = self._tells_apart(domain)
        if apart is not None:
            return apart
        # The same one until there is an answer: a server that greylists wants to see it twice.
        address = self._tests.get(domain) or nobody_at(domain)
        if len(self._tests) < _MAX_DOMAINS:
            self._tests[domain] = address
        return await self._shared(f"@{domain}", address, deadline) is Meaning.UNKNOWN

    async def _shared(self, key: str, address: str, deadline: Deadline) -> Meaning:
        """The answer about `address`; all who want to know it at one time wait for one question, each as long as he can."""
        task = self._asking.get(key)
        if task is None:
            if self._clock() < self._rest_until:
                raise TemporaryError(self._problems.get("", f"call-ahead: {self._server} rests"), "directory")
            task = asyncio.create_task(self._ask(key, address))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        try:
            async with deadline.timeout():
                return await asyncio.shield(task)
        except TimeoutError:
            raise TemporaryError(f"call-ahead: {self._server} has not answered in time", "directory") from None
        except asyncio.CancelledError:
            if task.cancelled():  # closed; and not: who asked is gone
                raise TemporaryError("call-ahead: closed meanwhile", "directory") from None
            raise

    def _done(self, key: str, task: asyncio.Task[Meaning]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # fetched: perhaps nobody waits any more

    async def _ask(self, key: str, address: str) -> Meaning:
        """Ask, remember, count.  UNCLEAR only where the server cannot be asked about such an address.  Raises TemporaryError."""
        domain = address.rpartition("@")[2]
        try:
            reply = await self._prober.ask(address, Deadline.after(self._config.timeout_seconds))
        except TemporaryError as error:
            metrics.CALLAHEAD.labels("failed").inc()
            text = f"call-ahead: {self._server}: {error}"
            if error.kind != "busy":
                self._rest_until = self._clock() + _REST_SECONDS
                self._trouble("", text)
            raise TemporaryError(text, "directory") from None
        if reply is NO_SMTPUTF8:
            return Meaning.UNCLEAR
        if key == f"@{domain}":
            return self._judge(domain, reply)
        if key == f"+{domain}":
            if reply.is_success:
                self._takes(address)
            return Meaning.KNOWN if reply.is_success else Meaning.UNCLEAR
        said = meaning(reply.code, reply.enhanced, believable=False)
        if said is not meaning(reply.code, reply.enhanced, believable=True) and await self._still_takes(domain):
            said = Meaning.UNKNOWN
        if said is Meaning.UNCLEAR:
            raise self._unclear(domain, "refuses a recipient and does not say that there is none", reply)
        self._well(domain)
        metrics.CALLAHEAD.labels(said.name.lower()).inc()
        self._remember(key, domain, said)
        return said

    async def _still_takes(self, domain: str) -> bool:
        """Whether it takes some recipient of the domain, now or just before: else what it refuses may be us.  Raises TemporaryError."""
        address, at = self._taken.get(domain, ("", 0.0))
        if not address or self._clock() - at < _TAKEN_SECONDS:
            return bool(address)
        deadline = Deadline.after(self._config.timeout_seconds)
        return await self._shared(f"+{domain}", address, deadline) is Meaning.KNOWN

    def _takes(self, address: str) -> None:
        domain = address.rpartition("@")[2]
        self._taken.pop(domain, None)
        self._taken[domain] = address, self._clock()
        if len(self._taken) > _MAX_DOMAINS:
            self._taken.popitem(last=False)

    def _remember(self, address: str, domain: str, said: Meaning) -> None:
        """Keep an answer of a server that is believed about the domain."""
        if said is Meaning.UNCLEAR or not self._tells_apart(domain):
            return
        if said is Meaning.KNOWN:
            self._takes(address)
        self._memory.put(address, said is Meaning.KNOWN, Remembered(self._clock(), time.time_ns() // 1_000_000))

    def _unclear(self, domain: str, what: str, reply: Reply) -> TemporaryError:
        metrics.CALLAHEAD.labels("failed").inc()
        text = f"call-ahead: {self._server} {what} at {domain}"
        if reply.is_permanent:  # a 4yz is everyday life
            self._trouble(domain, f"{text}: {reply.code} {reply.enhanced}".rstrip())
        return TemporaryError(f"{text}: {reply}", "directory")

    def _judge(self, domain: str, reply: Reply) -> Meaning:
        """What the answer about an address that nobody has says of the server.  Raises TemporaryError."""
        # Without an enhanced status code it may be meant for us: the first real recipient shows it.
        said = meaning(reply.code, reply.enhanced, believable=True)
        if said is Meaning.UNCLEAR:
            raise self._unclear(domain, "does not say who is unknown", reply)
        self._well(domain)
        self._tests.pop(domain, None)
        apart = said is Meaning.UNKNOWN
        self._judged.pop(domain, None)
        self._judged[domain] = apart, self._clock()
        if len(self._judged) > _MAX_DOMAINS:
            self._judged.popitem(last=False)
        if apart:
            self._told.discard(domain)
        else:
            metrics.CALLAHEAD.labels("everybody").inc()
            if domain not in self._told and len(self._told) < _MAX_TOLD:
                self._told.add(domain)
                extra = {"server": self._server, "domain": domain, "remedy": REMEDY}
                log.warning("call-ahead says nothing: the server takes every address", extra=extra)
        return said

    def _trouble(self, domain: str, text: str) -> None:
        """Say it once, until it is something else."""
        if text != self._problems.get(domain) and (domain in self._problems or len(self._problems) < _MAX_TOLD):
            log.warning("call-ahead cannot be used", extra={"error": text})
            self._problems[domain] = text

    def _well(self, domain: str) -> None:
        for key in ("", domain):
            if self._problems.pop(key, None) is not None:
                log.info("call-ahead can be used again", extra={"server": self._server, "domain": key})
