"""Owns how mail of our own Exchange leaves: the next server's settings, the keys, and the notices to authors whose mail it refused later.

Must not know what is decided about mail, nor how a notice is delivered (notices.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from filterd import metrics
from filterd.adapters.signing_key import OutboundKeys
from filterd.adapters.upstream import SmtpUpstream
from filterd.config import Config, OutboundConfig, UpstreamConfig
from filterd.engine.outbound import Outbound, by_domain
from filterd.mail.dsn import Undelivered, compose
from filterd.storage import notices
from filterd.storage.database import Database, now_ms

log = logging.getLogger(__name__)

KIND = "undelivered"  # of the notices, as the queue names them


def next_server(config: OutboundConfig) -> UpstreamConfig:
    """How the next mail server is reached: as any upstream."""
    return UpstreamConfig(
        host=config.host,
        port=config.port,
        tls=config.tls,
        tls_verify=config.tls_verify,
        tls_ca_file=config.tls_ca_file,
        connections=config.connections,
        data_seconds=config.data_seconds,
    )


def outbound_upstream(config: Config) -> SmtpUpstream | None:
    """The next mail server; None where there is none.  Raises OSError when the certificate authorities cannot be read."""
    if not config.outbound.host:
        return None
    return SmtpUpstream(next_server(config.outbound), config.outbound.helo or config.server.hostname, exchange=False)


def next_server_or_none(config: Config) -> SmtpUpstream | None:
    """The same for a process that starts: inbound mail goes on without it, outbound mail gets `451`, and one line says why."""
    try:
        return outbound_upstream(config)
    except OSError as error:
        problem = f"outbound.tls_ca_file: {config.outbound.tls_ca_file} cannot be used: {error.strerror or error}"
        log.error("outbound mail is deferred until this is repaired and filterd reloaded", extra={"problem": problem})
        return None


def with_keys(outbound: Outbound, keys: OutboundKeys) -> Outbound:
    """`outbound` signing with what can be used of the keys; one line in the log says what cannot."""
    metrics.SIGNING_KEYS_UNUSABLE.labels("outbound").set(len(keys.problems))
    if keys.problems:
        log.error(
            "a DKIM key cannot be used: mail of domains without another key is deferred until it is repaired",
            extra={"problems": list(keys.problems), "deferred_domains": sorted(keys.unsignable)},
        )
    return replace(outbound, signers=by_domain(keys.signers), unsignable=keys.unsignable)


class Teller:
    """Tells authors whose mail was not delivered."""

    def __init__(self, database: Database, hostname: str, clock_ms: Callable[[], int] = now_ms) -> None:
        """`hostname`: whose postmaster it comes from.  `clock_ms`: Unix milliseconds."""
        self._database = database
        self._hostname = hostname
        self._clock_ms = clock_ms

    async def __call__(self, about: Undelivered) -> None:
        """Durable when it returns; delivered later.  Raises StorageError."""
        at_ms = self._clock_ms()
        octets = compose(about, self._hostname, at_ms)
        await asyncio.to_thread(notices.add, self._database, KIND, str(about.reverse_path), octets, at_ms)
