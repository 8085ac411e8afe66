"""Owns the sending of reports: finished days are planned, due reports are checked, made, handed to a relay, written down.

Any number of processes may do it at once: the database says who has which report, and how many may be sent.  At least
once: what is sent again has the same Report-ID and file name (RFC 9990 3.5.2).  Must not know how rows came about.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from filterd import metrics
from filterd.aggregate.destinations import wanted_at
from filterd.aggregate.document import DAY_SECONDS, Heading, compressed_within
from filterd.aggregate.mail import Sign, compose, report_id, room_for_file, unsigned
from filterd.aggregate.published import published
from filterd.auth.names import ascii_domain
from filterd.config import DmarcReportsConfig, UpstreamConfig
from filterd.deadline import Deadline
from filterd.errors import PermanentError, StorageError, StorageFullError, TemporaryError
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.mail.envelope import Envelope, Recipient, new_id
from filterd.mail.reply import Reply
from filterd.ports import Delivery, Resolver, Upstream
from filterd.storage import aggregate, aggregate_queue
from filterd.storage.aggregate import Domain
from filterd.storage.aggregate_queue import Planned, Report
from filterd.storage.database import Database
from filterd.storage.outbox import QueueState

log = logging.getLogger(__name__)

GRACE_SECONDS = 300  # after the end of a day: every process has written what it counted
POLL_SECONDS = 5.0  # between looks at a queue that has nothing due; with it, 30 in a minute come one after the other
DNS_SECONDS = 60.0
DELIVERY_SECONDS = 900.0  # as the mail path: Exchange may take 10 minutes after the final dot
LEASE_SECONDS = 1_200.0  # longer than DNS, making the report and a delivery together can take
_PLAN_BATCH = 100  # domains of one look and one transaction: mail waits for the write lock some milliseconds


@dataclass(frozen=True, slots=True)
class _Made:
    """A report that is ready to go."""

    recipients: tuple[Mailbox, ...]
    octets: bytes


class ReportSender:
    """Plans and sends, one report after the other."""

    def __init__(
        self,
        config: DmarcReportsConfig,
        database: Database,
        resolver: Resolver,
        relay: Upstream,
        clock: Callable[[], float],
        sign: Sign = unsigned,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`clock` gives Unix seconds; `sign` makes a DKIM signature; `uniform` spreads the reports over time."""
        sender = parse_mailbox(config.email)
        if sender is None:
            raise PermanentError("dmarc_reports.email: no mailbox")
        self._config = config
        self._database = database
        self._resolver = resolver
        self._relay = relay
        self._clock = clock
        self._sign = sign
        self._uniform = uniform
        self._sender = sender

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; a hand-over under way is finished first."""
        while not stop.is_set():
            try:
                await self.plan()
                if await self.send_one():
                    continue
            except StorageError as error:
                log.error("DMARC reports cannot use the database", extra={"kind": error.kind, "error": str(error)})
            except Exception:  # a fault of ours in one report must not end all others
                log.exception("sending DMARC reports crashed")
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue

    async def plan(self) -> None:
        """Queue the reports of days that are over.  Raises StorageError."""
        today = int((self._clock() - GRACE_SECONDS) // DAY_SECONDS)
        finished = await asyncio.to_thread(aggregate.domains, self._database, today, True, _PLAN_BATCH)
        if not finished:
            return
        try:
            await asyncio.to_thread(
                aggregate_queue.plan, self._database, [self._planned(domain) for domain in finished]
            )
        except StorageFullError as error:  # what is queued can be sent
            log.warning("DMARC reports of finished days wait for room on the disk", extra={"error": str(error)})

    async def send_one(self) -> bool:
        """Send the report that is due longest; whether there was one.  Raises StorageError."""
        config, now_ms = self._config, int(self._clock() * 1000)
        limits = (config.reports_per_minute, config.reports_per_day)
        report = await asyncio.to_thread(aggregate_queue.claim, self._database, now_ms, LEASE_SECONDS, *limits)
        if report is None:
            return False
        try:
            made = await self._make(report)
            delivery = await self._deliver(made)
        except PermanentError as error:
            await self._removed(report, str(error), "unwanted")
        except TemporaryError as error:
            await self._failed(report, f"{error.kind}: {error}")
        except Exception:  # a fault of ours in one report: its attempts are bounded like those of any other
            log.exception("making a DMARC report crashed", extra=_about(report))
            await self._failed(report, "a fault of ours, see the log")
        else:
            await self._answered(report, delivery)
        return True

    # ------------------------------------------------------------ inside

    def _planned(self, domain: Domain) -> Planned:
        """A start of its own for every report: all reporters of the world have the same midnight."""
        since_ms = self._clock() * 1000
        spread_ms = self._config.spread_hours * 3_600_000
        due = {
            str(mailbox): int(since_ms + self._uniform(0.0, spread_ms))
            for mailbox in published(domain.record).destinations
            if domain.rows and mailbox.key != self._sender.key  # what comes from there is not sent there
        }
        return Planned(domain.day, domain.policy_domain, due)

    async def _make(self, report: Report) -> _Made:
        """Raises PermanentError when there is nothing to send or nobody who wants it, TemporaryError: not now."""
        destination = parse_mailbox(report.destination)
        if destination is None:
            raise PermanentError("the destination is no mailbox")
        deadline = Deadline.after(DNS_SECONDS)
        recipients = await wanted_at(self._resolver, report.policy_domain, destination, deadline)
        recipients = tuple(mailbox for mailbox in recipients if mailbox.key != self._sender.key)
        if not recipients:
            host = ascii_domain(destination.domain)
            raise PermanentError(f"{host} does not confirm that it wants reports about {report.policy_domain}")
        octets = await asyncio.to_thread(self._octets, report, recipients)
        return _Made(recipients, octets)

    def _octets(self, report: Report, recipients: tuple[Mailbox, ...]) -> bytes:
        """The message.  Raises PermanentError when the rows are gone."""
        config = self._config
        domain = aggregate.domain(self._database, report.day, report.policy_domain)
        rows = aggregate.rows(self._database, report.day, report.policy_domain, config.rows_per_report)
        if domain is None or not rows:
            raise PermanentError("its rows are gone")
        heading = heading_of(config, self._sender, domain)
        file, shown = compressed_within(heading, rows, room_for_file(config.report_bytes))
        in_report = sum(count for _, count in rows[:shown])
        missing = sum(count for _, count in rows[shown:]) + domain.dropped
        if missing:
            extra = {"policy_domain": domain.policy_domain, "day": domain.day, "missing": missing}
            log.warning("a DMARC report is not complete: a bound was reached", extra=extra)
        return compose(
            self._sender, recipients, heading, file, (in_report, missing), report.id, self._clock(), self._sign
        )

    async def _deliver(self, made: _Made) -> Delivery:
        recipients = tuple(Recipient(mailbox) for mailbox in made.recipients)
        # The reverse-path is the author: SPF then passes in alignment, and bounces reach somebody.
        envelope = Envelope(new_id(int(self._clock() * 1000)), self._sender, (), recipients)
        return await self._relay.deliver(envelope, recipients, (made.octets,), Deadline.after(DELIVERY_SECONDS))

    async def _answered(self, report: Report, delivery: Delivery) -> None:
        """One recipient that took it is enough: they stand for the same destination."""
        replies: list[Reply] = sorted(delivery.replies, key=lambda reply: reply.code)
        if replies[0].is_success:
            metrics.DMARC_REPORTS.labels("delivered").inc()
            log.info("DMARC report sent", extra={**_about(report), "reply": str(replies[0])})
            await asyncio.to_thread(aggregate_queue.delivered, self._database, report.id, str(replies[0]))
        elif all(reply.is_permanent for reply in replies):
            await self._removed(report, f"relay: {replies[0]}", "given_up")
        else:
            await self._failed(report, f"relay: {replies[0]}")

    async def _failed(self, report: Report, error: str) -> None:
        state = await asyncio.to_thread(
            aggregate_queue.failed, self._database, report, error, int(self._clock() * 1000)
        )
        metrics.DMARC_REPORTS.labels("retry" if state is QueueState.RETRY else "given_up").inc()
        log.warning("DMARC report not sent", extra={**_about(report), "state": state.value, "error": error})

    async def _removed(self, report: Report, why: str, result: str) -> None:
        metrics.DMARC_REPORTS.labels(result).inc()
        log.warning("DMARC report not sent, nor tried again", extra={**_about(report), "error": why})
        await asyncio.to_thread(aggregate_queue.removed, self._database, report.id, why)


def heading_of(config: DmarcReportsConfig, sender: Mailbox, domain: Domain) -> Heading:
    """What stands above the rows of that domain and day."""
    submitter = sender.domain_key
    return Heading(
        org_name=config.org_name or submitter,
        email=str(sender),
        contact=config.contact,
        report_id=report_id(submitter, domain.policy_domain, domain.day),
        day=domain.day,
        policy_domain=domain.policy_domain,
        record=domain.record,
    )


def relay_config(config: DmarcReportsConfig) -> UpstreamConfig:
    """How the relay is reached: as any upstream, one connection at a time."""
    return UpstreamConfig(
        host=config.host,
        port=config.port,
        tls=config.tls,
        tls_verify=config.tls_verify,
        tls_ca_file=config.tls_ca_file,
        connections=1,
    )


def _about(report: Report) -> dict[str, object]:
    return {"policy_domain": report.policy_domain, "day": report.day, "destination": report.destination}
