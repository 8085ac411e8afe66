"""Owns what must run somewhere besides the mail path: the outbox, report mails and their answers, DMARC reports, the watch over
models, copies of directories, expiry.

The side service runs it; without one `serve` starts it as a part of its own (`--part outbox`).  Must not know HTTP or SMTP.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from filterd.adapters.exchange_logs import ExchangeLogs
from filterd.adapters.resolver import DnsResolver
from filterd.adapters.signing_key import report_signer
from filterd.adapters.upstream import SmtpUpstream
from filterd.aggregate.sender import ReportSender, relay_config
from filterd.auth.seal import sign_dkim
from filterd.config import Config
from filterd.directory_runner import DirectoryRunner
from filterd.errors import ConfigError, StorageError
from filterd.mail.reply import Reply
from filterd.notices import NoticeRunner
from filterd.outbound import Teller, outbound_upstream
from filterd.outbox import OutboxRunner
from filterd.parent import watch_parent
from filterd.ports import EvidenceRecord, MessageRecord, Outcome, TerminalState, Upstream
from filterd.report_mail import ReportMailRunner
from filterd.storage import aggregate, campaigns, correspondents, greylist, ledger, notices, quarantine, shadow
from filterd.storage.database import Database, now_ms, open_database
from filterd.storage.outbox import OutboxItem
from filterd.watching import Watching

log = logging.getLogger(__name__)

DAY_SECONDS = 86_400.0
_AGAIN_SECONDS = 600.0  # after an expiry that the database refused
_DAY_MS = 86_400_000


@asynccontextmanager
async def background(config: Config, database: Database, upstream: Upstream) -> AsyncIterator[Callable[[], bool]]:
    """Runs them until the block ends; gives the question whether released copies are being delivered.

    At the end a hand-over under way may take server.drain_seconds; what it has not finished then is tried again later.
    """
    stop = asyncio.Event()
    async with _reports(config, database) as reports:
        outbound = _outbound(config)
        logs = ExchangeLogs(config)
        for server in (upstream, outbound):
            if isinstance(server, SmtpUpstream):
                server.conversations = logs
        tell, sent = Teller(database, config.server.hostname), _sent(logs, database)
        outbox = OutboxRunner(database, upstream, outbound=outbound, tell=tell, sent=sent)
        deliveries = asyncio.create_task(outbox.run(stop), name="outbox")
        sending = {deliveries, asyncio.create_task(Watching(config, database).run(stop), name="watching models")}
        sending.add(asyncio.create_task(NoticeRunner(database, upstream).run(stop), name="notices"))
        # Also without reports.domain: one that came before the domain was taken away must not lie there unseen.
        sending.add(asyncio.create_task(ReportMailRunner(config, database).run(stop), name="report mails"))
        if config.ldap:
            sending.add(asyncio.create_task(DirectoryRunner(config).run(stop), name="directory syncs"))
        if reports is not None:
            sending.add(asyncio.create_task(reports.run(stop), name="DMARC reports"))
        expiry = asyncio.create_task(_expire_daily(config, database), name="expiry")
        try:
            yield lambda: not deliveries.done()
        finally:
            stop.set()
            expiry.cancel()
            _, unfinished = await asyncio.wait(sending, timeout=config.server.drain_seconds)
            for task in unfinished:
                task.cancel()
            for task in (*sending, expiry):
                with suppress(asyncio.CancelledError):
                    await task
            for server in (upstream, outbound):
                if isinstance(server, SmtpUpstream):
                    await server.close()
            await asyncio.to_thread(logs.close)


def _sent(logs: ExchangeLogs, database: Database) -> Callable[[OutboxItem, Reply], Awaitable[None]] | None:
    """Tells the message tracking log of copies that were delivered later; None where there is none."""
    if not logs.config.tracking:
        return None

    async def sent(item: OutboxItem, reply: Reply) -> None:
        found = await asyncio.to_thread(ledger.trace, database, item.message_id)
        if found is None:
            return
        known = found.message
        message = MessageRecord(
            known.id,
            known.received_ms,
            known.worker,
            known.listener,
            known.client_ip,
            known.helo,
            known.mail_from,
            (item.recipient,),
            known.size,
            known.header_from,
            known.subject,
            known.message_id,
        )
        outcome = Outcome(item.recipient, TerminalState.FORWARDED, str(reply), f"upstream: {reply}")
        trust = "outbound" if item.outbound else "internet"
        logs.delivered(message, outcome, EvidenceRecord("", 0, 0.0, 0.0, [], [], extra={"trust": trust}))

    return sent


def _outbound(config: Config) -> SmtpUpstream | None:
    """The next mail server of [outbound], for what it did not take at once; None where there is none."""
    try:
        return outbound_upstream(config)
    except OSError as error:  # a file that was there when the configuration was checked; mail waits
        log.error("outbound mail that waits cannot be delivered until this is repaired", extra={"error": str(error)})
        return None


@asynccontextmanager
async def _reports(config: Config, database: Database) -> AsyncIterator[ReportSender | None]:
    """What sends DMARC reports; None where none are sent."""
    if not config.dmarc_reports.enabled:
        yield None
        return
    try:
        signer = report_signer(config)
        relay = SmtpUpstream(relay_config(config.dmarc_reports), config.server.hostname, exchange=False)
    except (ConfigError, OSError) as error:  # a file that was there when the configuration was checked; mail goes on
        log.error(
            "DMARC reports cannot be sent until this is repaired and filterd reloaded", extra={"error": str(error)}
        )
        yield None
        return
    resolver = DnsResolver(config.dns.servers, config.dns.timeout_seconds, config.dns.cache_entries)

    def sign(message: bytes) -> bytes:
        return sign_dkim(message, signer, int(time.time())) if signer else b""

    try:
        yield ReportSender(config.dmarc_reports, database, resolver, relay, time.time, sign)
    finally:
        await relay.close()
        await resolver.close()


async def _expire_daily(config: Config, database: Database) -> None:
    while True:
        pause = DAY_SECONDS
        try:
            await asyncio.to_thread(expire, config, database, now_ms())
        except StorageError as error:
            log.error("expiry failed, trying again", extra={"kind": error.kind, "error": str(error)})
            pause = _AGAIN_SECONDS
        except Exception:  # a fault of ours in the expiry must not end it for ever
            log.exception("expiry crashed")
        await asyncio.sleep(pause)


def expire(config: Config, database: Database, at_ms: int) -> tuple[int, int, int]:
    """Expire what is older than storage.keep_days, and what greylisting and DMARC reports need not know any more.  Blocks.

    Returns how many (quarantined messages, evidence records, greylist rows).
    """
    before = at_ms - config.storage.keep_days * _DAY_MS
    messages = quarantine.expire(database, before)
    records = ledger.expire_evidence(database, before)
    forgotten = greylist.expire(database, config.greylist, at_ms)
    aggregate.expire(database, at_ms // _DAY_MS - config.dmarc_reports.keep_days)
    campaigns.expire(database, config.campaigns, at_ms)
    correspondents.expire(database, config.outbound, at_ms)
    shadow.expire(database, before)
    notices.expire(database, before)
    log.info("expired", extra={"quarantined": messages, "evidence": records, "greylist": forgotten})
    return messages, records, forgotten


def run(config: Config) -> None:
    """The part `outbox`: until SIGTERM or SIGINT.  Raises StorageError when the database cannot be opened."""
    asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(watch_parent(stop.set))
    database = await asyncio.to_thread(open_database, config)
    async with background(config, database, SmtpUpstream(config.upstream, config.server.hostname)):
        log.info("outbox is being delivered")
        await stop.wait()
    watching.cancel()
    database.close()
