"""Owns the composition: builds everything from Config, and puts new lists or a new model in place while running.

Nothing imports it but the command line, the worker and the side service.  Must not decide anything about mail.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakSet

from filterd import metrics, modelstore
from filterd.adapters import model_key
from filterd.adapters.clamd import ClamdScanner
from filterd.adapters.directory import ChainDirectory, build_directory
from filterd.adapters.inspector import ChildInspector
from filterd.adapters.resolver import DnsResolver
from filterd.adapters.signing_key import outbound_signers, seal_signer
from filterd.adapters.site_key import site_key
from filterd.adapters.tallies import SharedTallies
from filterd.adapters.upstream import SmtpUpstream
from filterd.aggregate.collector import Collector, Counted
from filterd.checks.base import Check
from filterd.checks.content import Content
from filterd.checks.lists import Kind, Lists, NetworkTable
from filterd.checks.registry import LIVE_ONLY, NAMES, Ours, Parts, build
from filterd.checks.spoof import Spoof
from filterd.classifier.manifest import INFORMATION, LOCAL, MANIFEST, WEIGHTS
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, Config, DmarcReportsConfig
from filterd.directory.domains import postmasters
from filterd.directory.values import AcceptedDomain, ProtectedPerson
from filterd.engine.aggregate import DmarcNotes
from filterd.engine.campaigns import CampaignNotes
from filterd.engine.handoff import HandOff
from filterd.engine.outbound import CorrespondentNotes, Outbound, OutboundHandOff, by_domain
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy
from filterd.engine.scan import Scanner
from filterd.engine.shared import Engine
from filterd.engine.standing import SenderNotes
from filterd.engine.transaction import Session
from filterd.errors import ConfigError, FilterdError, ModelError, StorageError
from filterd.mail.envelope import Connection
from filterd.modelstore import ACTIVE_MODEL as ACTIVE_MODEL
from filterd.modelstore import SHADOW_MODEL as SHADOW_MODEL
from filterd.modelstore import active_model as active_model
from filterd.outbound import Teller, outbound_upstream
from filterd.ports import Correspondents, Custody, Greylist, Tallies, Upstream
from filterd.slot import Slot
from filterd.storage import aggregate
from filterd.storage import lists as list_store
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.correspondents import SqlCorrespondents
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, open_database
from filterd.storage.greylist import SqlGreylist

log = logging.getLogger(__name__)

Known = tuple[tuple[AcceptedDomain, ...], tuple[ProtectedPerson, ...]]

MODEL_SECONDS = 5.0  # a promotion must reach every worker within 10 s, whatever lists.refresh_seconds says


def load_model(config: Config, path: Path) -> Model | None:
    """The model whose signature and digests are right, or None with a log line that says what is wrong."""
    try:
        model = modelstore.load(config, path)
    except (ModelError, OSError) as error:
        log.error("the content model cannot be loaded", extra={"path": str(path), "error": str(error)})
        return None
    return model


def model_mark(config: Config, path: Path) -> tuple[object, ...]:
    """What differs when a model should be loaded again: its path, its files, the keys that are trusted.  Cheap.

    All of its files: a folder that is copied from another machine may have its manifest minutes before its weights.
    """
    stamps: list[object] = []
    for name in (MANIFEST, model_key.SIGNATURE, WEIGHTS, INFORMATION, LOCAL):
        try:
            stat = (path / name).stat()
            stamps.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
        except OSError:
            stamps.append(None)
    return (path, model_key.trusted(config), *stamps)


def model_to_begin_with(config: Config, path: Path, in_use: Model | None = None, *, told: bool = True) -> Model | None:
    """The model at `path`; when one that was promoted cannot be loaded the one `in_use`, else the seed.

    The seed may only tag, which is safe; one that the configuration names is what was wanted or nothing.  With None content is
    unavailable (FAILURE row: open).  `told`: in the metrics, as a worker does; who only scans never looks again.
    """
    model = load_model(config, path)
    if told:
        metrics.MODEL_REFUSED.set(model is None)
    if model is None and in_use is not None and config.model.path is None:
        log.error("the old model stays in use", extra={"path": str(path), "model": in_use.name})
        return in_use
    if model is None and path != SEED_MODEL and config.model.path is None:
        log.error(
            "the seed model is used instead: train a new model from mail, or promote another",
            extra={"path": str(path)},
        )
        model = load_model(config, SEED_MODEL)
    if told:
        metrics.MODEL_LOADED.set(model is not None)
    if model is None:
        log.error("no content model: mail goes on without the content check", extra={"path": str(path)})
    return model


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


def check_names(config: Config) -> None:
    """Raises ConfigError for a check that does not exist."""
    unknown = [name for name in config.policy.observe_checks if name not in NAMES]
    if unknown:
        raise ConfigError([f"policy.observe_checks: expected names of {', '.join(NAMES)}, found {unknown[0]!r}"])


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


class App:
    """A mail process: the engine, its custody, and what is exchanged while it runs."""

    def __init__(self, config: Config, slot: str, tallies: Tallies | None = None) -> None:
        """`tallies` are shared with other workers; without them this process counts for itself."""
        check_names(config)
        self.tallies = tallies or SharedTallies.alone()
        self.config = config
        self.boot_id = secrets.token_hex(4)
        self.slot = slot
        self._place = Slot(config, slot)
        self.database = open_database(config)
        self._greylist: SqlGreylist | None = None
        self._correspondents: SqlCorrespondents | None = None
        self._room_until = 0.0
        # Weak: what earlier configurations built goes with the last connection that uses it.
        self._writers: WeakSet[HandOff | SenderNotes | Collector | CampaignNotes | CorrespondentNotes] = WeakSet()
        self.custody = SqlCustody(self.database)
        self._place.recover(self.database, self.custody, self.boot_id)
        self.graph = self._build(config)

    def _build(self, config: Config, in_use: Model | None = None) -> Graph:
        model_path = active_model(config, self.database)
        worker = f"{self.slot}:{self.boot_id}"
        if self._greylist is None or config.greylist != self.config.greylist:  # else what it knows by heart stays
            self._greylist = SqlGreylist(self.database, config.greylist)
        if self._correspondents is None or config.outbound != self.config.outbound:
            self._correspondents = build_correspondents(config, self.database)
        graph = build_graph(
            config,
            self.database,
            self.custody,
            worker,
            model_path,
            self.tallies,
            self._greylist,
            in_use=in_use,
            correspondents=self._correspondents,
        )
        self._build_outbound(config, graph)
        graph.engine.has_room = self.has_room
        self._writers.add(graph.engine.handoff)
        if graph.engine.senders is not None:
            self._writers.add(graph.engine.senders)
        if config.campaigns.enabled:
            graph.engine.campaign_notes = CampaignNotes(SqlCampaigns(self.database, config.campaigns))
            self._writers.add(graph.engine.campaign_notes)
        if config.dmarc_reports.enabled:
            collector = self._collector(config.dmarc_reports)
            self._writers.add(collector)
            graph.engine.dmarc_notes = DmarcNotes(collector.note, config.dmarc_reports.email.lower())
        self._take_shadow(config, graph)
        return graph

    def _build_outbound(self, config: Config, graph: Graph) -> None:
        """What mail of our own Exchange for the world needs, and the notes of whom it is for.  Raises ConfigError, OSError."""
        graph.outbound = outbound_upstream(config)
        if graph.outbound is not None:
            handoff = OutboundHandOff(graph.outbound, self.custody, Teller(self.database, config.server.hostname))
            graph.engine.outbound = Outbound(handoff, by_domain(outbound_signers(config)))
            self._writers.add(handoff)
        spoof = graph.check_by_name["spoof"]
        assert isinstance(spoof, Spoof)  # who knows our own domains, also when they change
        if self._correspondents is not None:
            notes = CorrespondentNotes(self._correspondents, lambda: spoof.ours, time.time)
            graph.engine.correspondents = notes
            self._writers.add(notes)

    def _collector(self, config: DmarcReportsConfig) -> Collector:
        def write(counted: Mapping[Counted, int]) -> None:
            aggregate.count(self.database, counted, config.rows_per_report, config.rows_per_day)

        return Collector(write, time.time)

    def has_room(self) -> bool:
        """Whether a message may come: looked at once a second, so that a full disk refuses DATA and not the whole message."""
        if time.monotonic() >= self._room_until:
            try:
                self.database.check_space()
            except StorageError:
                return False
            self._room_until = time.monotonic() + 1.0
        return True

    async def session(self, connection: Connection) -> Session:
        """The front end's session factory; a reload changes what later connections get."""
        return await Session.connected(self.graph.engine, connection)

    @property
    def upstream_extensions(self) -> dict[str, str] | None:
        """What upstream's newest EHLO offered; None before the first connection."""
        upstream = self.graph.upstream
        return upstream.extensions if isinstance(upstream, SmtpUpstream) else None

    @property
    def outbound_extensions(self) -> dict[str, str] | None:
        """The same of the next mail server, for mail of our own Exchange."""
        return self.graph.outbound.extensions if self.graph.outbound is not None else None

    async def warm_up(self) -> None:
        """Learn upstream's extensions before the first client asks for ours."""
        if isinstance(self.graph.upstream, SmtpUpstream):
            await self.graph.upstream.warm_up()
        if self.graph.outbound is not None:
            await self.graph.outbound.warm_up()

    async def reload(self, config: Config) -> None:
        """Build a whole new graph, or keep the old one and raise ConfigError."""
        check_names(config)
        fresh = await asyncio.to_thread(self._build, config, content_of(self.graph).model)
        old, self.graph, self.config = self.graph, fresh, config
        if isinstance(fresh.upstream, SmtpUpstream) and isinstance(old.upstream, SmtpUpstream):
            fresh.upstream.extensions = old.upstream.extensions  # until its first connection says otherwise
        if fresh.outbound is not None and old.outbound is not None:
            fresh.outbound.extensions = old.outbound.extensions
        await close_upstream(old.upstream)
        if old.outbound is not None:
            await old.outbound.close()
        if old.malware is not None:
            await old.malware.close()
        await old.directory.close()
        await asyncio.to_thread(old.inspector.close)
        log.info("configuration loaded again")

    async def refresh_forever(self) -> None:
        """Take over list entries and models that the API or the command line changed."""
        while True:
            await asyncio.sleep(min(self.config.lists.refresh_seconds, MODEL_SECONDS))
            try:
                await self.refresh()
            except FilterdError as error:
                log.error("cannot look for changed lists or models", extra={"error": str(error)})
            except Exception:  # a fault of ours in one look must not end all later ones
                log.exception("looking for changed lists or models crashed")

    async def refresh(self) -> None:
        """One look: cheap when nothing changed."""
        graph = self.graph
        await self._refresh_directory(graph)  # first: what it needs is no database
        now_ms = int(time.time() * 1000)
        version = await asyncio.to_thread(list_store.version, self.database)
        lists = graph.check_by_name["lists"]
        assert isinstance(lists, Lists)
        known = graph.lists
        expired = known is not None and known.next_expiry_ms is not None and known.next_expiry_ms <= now_ms
        if known is None or version != known.version or expired:
            graph.lists = await asyncio.to_thread(take_snapshot, self.database)
            lists.table = network_table(self.config, graph.lists)
        await self._refresh_model(graph)
        await asyncio.to_thread(self._take_shadow, self.config, graph)

    async def _refresh_directory(self, graph: Graph) -> None:
        """Take over recipients that were synced or pushed; where accepted domains or protected people are others, tell the checks."""
        await graph.directory.refresh()
        known = graph.directory.domains(), graph.directory.people()
        if known == graph.known:
            return
        ours = await asyncio.to_thread(Ours.of, self.config, *known)
        ours.give(graph.checks)
        graph.engine.postmasters = _postmasters(self.config, known[0])
        graph.known = known
        log.info("the directory has other domains or people", extra={"domains": len(known[0]), "people": len(known[1])})

    async def _refresh_model(self, graph: Graph) -> None:
        """Exchange the model when another was promoted, or its files changed; connections go on and use it from their next message."""
        path = await asyncio.to_thread(active_model, self.config, self.database)
        mark = await asyncio.to_thread(model_mark, self.config, path)
        if mark == graph.model_mark:
            return
        content = content_of(graph)
        model = await asyncio.to_thread(load_model, self.config, path)
        graph.model_mark = mark
        metrics.MODEL_REFUSED.set(model is None)
        if model is None:
            log.error("the old model stays in use", extra={"path": str(path)})
            return
        content.model = model
        metrics.MODEL_LOADED.set(1)
        log.info("model in use", extra={"model": model.name})

    def _take_shadow(self, config: Config, graph: Graph) -> None:
        """Exchange the model that scores beside the one in use; one that cannot be loaded does not score, and mail goes on.  Blocks."""
        path = modelstore.shadow_model(config, self.database)
        mark = model_mark(config, path) if path is not None else None
        if mark == graph.shadow_mark:
            return
        shadow = load_model(config, path) if path is not None else None
        graph.shadow_mark = mark
        content_of(graph).shadow = shadow
        if shadow is not None or path is None:
            log.info("model in shadow", extra={"model": shadow.name if shadow else ""})

    async def close(self) -> None:
        """Let go of everything; what was handed to the ledger is written first."""
        await close_upstream(self.graph.upstream)
        if self.graph.outbound is not None:
            await self.graph.outbound.close()
        if self.graph.malware is not None:
            await self.graph.malware.close()
        await self.graph.directory.close()
        await asyncio.to_thread(self.graph.inspector.close)
        for writer in tuple(self._writers):
            await writer.flush()
        if self._greylist is not None:
            await asyncio.to_thread(self._greylist.close)
        if self._correspondents is not None:
            await asyncio.to_thread(self._correspondents.close)
        await asyncio.to_thread(self.custody.close)
        self._place.release()


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
    parts = Parts(resolver, directory, table, model, tallies, greylist, clock, malware, inspector, correspondents)
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
        postmasters=_postmasters(config, known[0]),
        header_bytes=config.limits.header_bytes,
        clients=config.clients,
        greylist_config=config.greylist,
        lookups_per_message=config.dns.lookups_per_message,
        signer=seal_signer(config),
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


def _postmasters(config: Config, accepted: Iterable[AcceptedDomain]) -> dict[str, str]:
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
