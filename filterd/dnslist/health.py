"""Owns whether one zone can be believed now: tested before first belief, tested again, suspended, tried again.

Must not know SMTP, nor what a listing costs.  What is suspended is logged once, counted by the check, and seen by `doctor`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from filterd import metrics
from filterd.config import DnsblConfig
from filterd.deadline import Clock, Deadline
from filterd.dnslist.protocol import Problem, ZoneRules, find_problem
from filterd.errors import TemporaryError
from filterd.ports import Resolver

log = logging.getLogger(__name__)

TEST_SECONDS = 5.0  # longest test; the stage at which zones are asked has no more either
TEST_EVERY = 600.0  # seconds between two tests of a zone that works: few questions, and a dead zone hurts ten minutes
TRY_EVERY = 60.0  # seconds until a suspended zone is tried again
MAX_FAILURES = 5  # questions in a row without an answer: one lost packet is nothing, five are a zone that is down


Find = Callable[[Resolver, Deadline], Awaitable[Problem | None]]


def _find_by_address(zone: ZoneRules) -> Find:
    assert isinstance(zone, DnsblConfig)
    return lambda resolver, deadline: find_problem(zone, resolver, deadline)


class ZoneWatch:
    """The health of one zone in this process.

    A zone starts untested: its first use begins the test beside the real question.  A test that fails, a refusal
    (127.255.255.x) or MAX_FAILURES questions in a row without an answer suspend it.  A suspended zone is not asked; after
    TRY_EVERY the next use begins a test in the background, or, without test points, lets one question through.

    Attributes:
        problem: why it is suspended, None while it is not.
    """

    def __init__(self, zone: ZoneRules, resolver: Resolver, clock: Clock, find: Find | None = None) -> None:
        """`find`: the test of a zone that lists something else than addresses."""
        self.problem: Problem | None = None
        self._zone = zone
        self._resolver = resolver
        self._clock = clock
        self._find = find or _find_by_address(zone)
        self._tested = not zone.health
        self._failures = 0
        self._due = clock()  # of the next test, or of the next try without test points
        self._test: asyncio.Task[None] | None = None
        metrics.DNSBL_SUSPENDED.labels(zone.zone).set(0)

    def may_ask(self) -> bool:
        """Whether the zone shall be asked now; begins a test that is due, without waiting for it."""
        due = self._clock() >= self._due
        if self._zone.health:
            if due and (self._test is None or self._test.done()):
                self._test = asyncio.create_task(self._run_test(), name=f"test of {self._zone.zone}")
            return self.problem is None
        if self.problem is None:
            return True
        if due:
            self._due = self._clock() + TRY_EVERY  # this one question is the try; others wait for what it tells
        return due

    async def is_believed(self, deadline: Deadline) -> bool:
        """Whether a listing counts; waits for the first test.  Raises TemporaryError when that has no answer."""
        if self.problem is None and not self._tested and self._test is not None:
            try:
                async with deadline.timeout():
                    await asyncio.shield(self._test)  # one client's end must not take the test from the others
            except TimeoutError:
                raise TemporaryError(f"{self._zone.zone} has not answered its test yet", "timeout") from None
        if self.problem is None and not self._tested:
            raise TemporaryError(f"the test points of {self._zone.zone} do not answer", "timeout")
        return self.problem is None

    def answered(self) -> None:
        """The zone gave a usable answer."""
        if self._tested:
            self._failures = 0
        if not self._zone.health:
            self._restore()

    def failed(self, error: TemporaryError) -> None:
        """A question had no answer."""
        if error.kind in ("busy", "budget"):  # bounds of our own, the zone is not at fault
            return
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            zone = self._zone.zone
            self.suspend(
                Problem(
                    f"{zone} did not answer {MAX_FAILURES} times in a row: {error}",
                    f"look at the name servers (dns.servers) and ask them for names below {zone}; it is tried again by itself",
                )
            )

    def suspend(self, problem: Problem) -> None:
        """Do not ask any more until it is tried again."""
        if self.problem is None:
            metrics.DNSBL_SUSPENDED.labels(self._zone.zone).set(1)
            extra = {"zone": self._zone.zone, "problem": problem.text, "remedy": problem.remedy}
            log.error("DNS list suspended", extra=extra)
        self.problem = problem
        self._due = self._clock() + TRY_EVERY

    def _restore(self) -> None:
        self._failures = 0
        if self.problem is not None:
            self.problem = None
            metrics.DNSBL_SUSPENDED.labels(self._zone.zone).set(0)
            log.warning("DNS list is believed again", extra={"zone": self._zone.zone})

    async def _run_test(self) -> None:
        suspended = self.problem is not None
        try:
            problem = await self._find(self._resolver, Deadline.after(TEST_SECONDS))
        except TemporaryError as error:
            # An untested zone cannot be used: its next use tests again.  One that was tested stays as it is meanwhile.
            if self._tested or self.problem is not None:
                self._due = self._clock() + TRY_EVERY
            self.failed(error)
            return
        self._tested = True
        if problem is not None:
            self.suspend(problem)
            return
        if self.problem is not None and not suspended:
            return  # suspended while the test ran, by something newer than what the test saw
        self._due = self._clock() + TEST_EVERY
        self._restore()
