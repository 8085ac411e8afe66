"""Owns one set of objects built from one configuration: what decides and hands over, and the same without a hand-over.

Part of the composition root (filterd/app.py), which exchanges parts of it while it runs.  Must not decide anything about mail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from filterd.adapters.clamd import ClamdScanner
from filterd.adapters.directory import ChainDirectory, build_directory
from filterd.adapters.inspector import ChildInspector
from filterd.adapters.probe_addresses import ProbeAddresses
from filterd.adapters.resolver import DnsResolver
from filterd.adapters.signing_key import seal_signer_or_none
from filterd.adapters.site_key import site_key
from filterd.adapters.tallies import SharedTallies
from filterd.adapters.upstream import SmtpUpstream
from filterd.checks.base import Check
from filterd.checks.content import Content
from filterd.checks.lists import Kind, NetworkTable
from filterd.checks.names import check_names as check_names
from filterd.checks.registry import LIVE_ONLY, Parts, build
from filterd.classifier.model import Model
from filterd.config import Config
from filterd.directory.domains import postmasters
from filterd.directory.values import AcceptedDomain, ProtectedPerson
from filterd.engine.handoff import HandOff
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy
from filterd.engine.scan import Scanner
from filterd.engine.shared import Engine
from filterd.engine.standing import SenderNotes
from filterd.modelloading import model_mark, model_to_begin_with
from filterd.modelstore import ACTIVE_MODEL as ACTIVE_MODEL
from filterd.modelstore import SHADOW_MODEL as SHADOW_MODEL
from filterd.modelstore import active_model as active_model
from filterd.ports import Correspondents, Custody, Greylist, Tallies, Upstream
from filterd.storage import lists as list_store
from filterd.storage.correspondents import SqlCorrespondents
from filterd.storage.database import Database

Known = tuple[tuple[AcceptedDomain, ...], tuple[ProtectedPerson, ...]]


def network_table(config: Config, snapshot: list_store.ListSnapshot | None) -> NetworkTable:
    """Allow and block entries of the configuration and the database."""
    entries: list[tuple[str, Kind, str]] = []
    if snapshot is not None:
        entries += [(network, "block", "list entry") for network in snapshot.block]
        entries += [(network, "allow", "list entry") for network in snapshot.allow]
    entries += [(network, "block", "configuration") for network in config.lists.block]
    entries += [(network, "allow", "configuration") for network in config.lists.allow]
    return NetworkTable(entries)


def take_snapshot(database: Database | None) -> list_store.ListSnapshot | None:
    """The list entries that count now, if there is a database."""
    return list_store.snapshot(database, int(time.time() * 1000)) if database is not None else None


@dataclass(slots=True)
class Graph:
    """One set of objects built from one configuration."""

    engine: Engine
    checks: list[Check]
    resolver: DnsResolver
    upstream: Upstream
    malware: ClamdScanner | None
    inspector: ChildInspector
    directory: ChainDirectory
    known: Known
    model_mark: tuple[object, ...]
    shadow_mark: tuple[object, ...] | None = None
    outbound: SmtpUpstream | None = None
    lists: list_store.ListSnapshot | None = None
    check_by_name: dict[str, Check] = field(default_factory=dict)


def content_of(graph: Graph) -> Content:
    """The content check, whose model is exchanged while it runs."""
    content = graph.check_by_name["content"]
    assert isinstance(content, Content)
    return content


async def close_upstream(upstream: Upstream) -> None:
    """Close pooled connections, if it has any."""
    if isinstance(upstream, SmtpUpstream):
        await upstream.close()


def build_graph(
    config: Config,
    database: Database | None,
    custody: Custody,
    worker: str,
    model_path: Path,
    tallies: Tallies,
    greylist: Greylist | None = None,
    upstream: Upstream | None = None,
    clock: Callable[[], float] = time.time,
    in_use: Model | None = None,
    correspondents: Correspondents | None = None,
) -> Graph:
    """Everything that decides and hands over, from one configuration.

    `in_use`: the model that scored until now, for the case that the one at `model_path` cannot be loaded.
    """
    resolver = _build_resolver(config)
    mark = model_mark(config, model_path)
    model = model_to_begin_with(config, model_path, in_use)
    snapshot = take_snapshot(database)
    table = network_table(config, snapshot)
    malware = ClamdScanner(config.malware) if config.malware.clamd else None
    inspector = ChildInspector(config.attachments)
    directory = build_directory(config)
    known = directory.domains(), directory.people()
    probes = ProbeAddresses(config.state_dir, clock)
    parts = Parts(
        resolver, directory, table, model, tallies, greylist, clock, malware, inspector, correspondents, probes
    )
    checks = build(config, parts)
    by_name = {check.name: check for check in checks}
    content = by_name["content"]
    assert isinstance(content, Content)
    used_upstream = upstream or SmtpUpstream(config.upstream, config.server.hostname)
    engine = Engine(
        pipeline=Pipeline(checks),
        policy=Policy.of(config),
        handoff=HandOff(used_upstream, custody),
        hostname=config.server.hostname,
        authserv_id=config.authserv_id,
        worker=worker,
        postmasters=our_postmasters(config, known[0]),
        header_bytes=config.limits.header_bytes,
        clients=config.clients,
        greylist_config=config.greylist,
        lookups_per_message=config.dns.lookups_per_message,
        signer=seal_signer_or_none(config),
        senders=SenderNotes(greylist, clock) if greylist is not None and config.greylist.enabled else None,
        model_name=lambda: content.model.name if content.model else "",
        clock=clock,
    )
    return Graph(
        engine,
        checks,
        resolver,
        used_upstream,
        malware,
        inspector,
        directory,
        known,
        mark,
        lists=snapshot,
        check_by_name=by_name,
    )


def build_correspondents(config: Config, database: Database) -> SqlCorrespondents | None:
    """The memory of whom our own people write to; None where no mail of theirs comes by, or nobody shall be remembered."""
    theirs = config.outbound.host or any(listener.auth for listener in config.listeners)
    if not config.outbound.correspondent_days or not theirs:
        return None
    return SqlCorrespondents(database, config.outbound, site_key(config.state_dir))


def _build_resolver(config: Config) -> DnsResolver:
    dns, zones = config.dns, config.list_zones
    return DnsResolver(dns.servers, dns.timeout_seconds, dns.cache_entries, zones=zones)


def our_postmasters(config: Config, accepted: Iterable[AcceptedDomain]) -> dict[str, str]:
    """Names of ours that are no accepted domains -> the accepted domain whose postmaster is theirs too."""
    return postmasters((config.server.hostname, config.reports.domain), accepted)


def build_scanner(config: Config, database: Database | None) -> Scanner:
    """The engine without a hand-over, for `filterd scan` and the API."""
    check_names(config)
    resolver = _build_resolver(config)
    model = model_to_begin_with(config, active_model(config, database), told=False)
    table = network_table(config, take_snapshot(database))
    malware = ClamdScanner(config.malware) if config.malware.clamd else None
    inspector = ChildInspector(config.attachments)  # its processes end with it
    directory, tallies = build_directory(config), SharedTallies.alone()
    known = build_correspondents(config, database) if database is not None else None
    parts = Parts(
        resolver, directory, table, model, tallies, malware=malware, inspector=inspector, correspondents=known
    )
    checks = [check for check in build(config, parts) if check.name not in LIVE_ONLY]
    return Scanner(Pipeline(checks), Policy.of(config), config.dns.lookups_per_message)
