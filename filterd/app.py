"""Owns the composition: builds everything from Config, and puts new lists or a new model in place while running.

Nothing imports it but the command line, the worker and the side service.  Must not decide anything about mail.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from weakref import WeakSet

from filterd import metrics, modelstore
from filterd.adapters.exchange_logs import ExchangeLogs, TrackedCustody
from filterd.adapters.signing_key import OutboundKeys, outbound_keys
from filterd.adapters.tallies import SharedTallies
from filterd.adapters.upstream import SmtpUpstream
from filterd.aggregate.collector import Collector, Counted
from filterd.checks.lists import Lists
from filterd.checks.registry import Ours
from filterd.checks.spoof import Spoof
from filterd.classifier.model import Model
from filterd.config import Config, DmarcReportsConfig
from filterd.engine.aggregate import DmarcNotes
from filterd.engine.campaigns import CampaignNotes
from filterd.engine.handoff import HandOff
from filterd.engine.outbound import CorrespondentNotes, Outbound, OutboundHandOff
from filterd.engine.standing import SenderNotes
from filterd.engine.transaction import Session
from filterd.errors import FilterdError, StorageError
from filterd.graph import (
    Graph,
    build_correspondents,
    build_graph,
    close_upstream,
    network_table,
    our_postmasters,
    take_snapshot,
)
from filterd.graph import build_scanner as build_scanner
from filterd.graph import check_names as check_names
from filterd.graph import content_of as content_of
from filterd.mail.envelope import Connection
from filterd.modelloading import load_model
from filterd.modelloading import model_mark as model_mark
from filterd.modelstore import ACTIVE_MODEL as ACTIVE_MODEL
from filterd.modelstore import SHADOW_MODEL as SHADOW_MODEL
from filterd.modelstore import active_model as active_model
from filterd.outbound import Teller, next_server_or_none, with_keys
from filterd.ports import Tallies
from filterd.slot import Slot
from filterd.storage import aggregate
from filterd.storage import lists as list_store
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.correspondents import SqlCorrespondents
from filterd.storage.custody import SqlCustody
from filterd.storage.database import open_database
from filterd.storage.greylist import SqlGreylist

log = logging.getLogger(__name__)

MODEL_SECONDS = 5.0  # a promotion must reach every worker within 10 s, whatever lists.refresh_seconds says


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
        self._keys = OutboundKeys()
        # Weak: what earlier configurations built goes with the last connection that uses it.
        self._writers: WeakSet[HandOff | SenderNotes | Collector | CampaignNotes | CorrespondentNotes] = WeakSet()
        self.custody = SqlCustody(self.database)
        self.exchange_logs = ExchangeLogs(config)
        self._place.recover(self.database, self.custody, self.boot_id)
        self.graph = self._build(config)

    def _build(self, config: Config, in_use: Model | None = None) -> Graph:
        model_path = active_model(config, self.database)
        worker = f"{self._place.owner}:{self.boot_id}"
        if self._greylist is None or config.greylist != self.config.greylist:  # else what it knows by heart stays
            self._greylist = SqlGreylist(self.database, config.greylist)
        if self._correspondents is None or config.outbound != self.config.outbound:
            self._correspondents = build_correspondents(config, self.database)
        graph = build_graph(
            config,
            self.database,
            TrackedCustody(self.custody, self.exchange_logs),
            worker,
            model_path,
            self.tallies,
            self._greylist,
            in_use=in_use,
            correspondents=self._correspondents,
        )
        if isinstance(graph.upstream, SmtpUpstream):
            graph.upstream.conversations = self.exchange_logs
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
        """What mail of our own Exchange for the world needs, and the notes of whom it is for.  What is amiss there stops no inbound mail."""
        spoof = graph.check_by_name["spoof"]
        assert isinstance(spoof, Spoof)  # who knows our own domains, also when they change
        graph.outbound = next_server_or_none(config)
        if graph.outbound is not None:
            graph.outbound.conversations = self.exchange_logs
            custody = TrackedCustody(self.custody, self.exchange_logs)
            tell = Teller(self.database, config.server.hostname)
            handoff = OutboundHandOff(graph.outbound, custody, tell, lambda: spoof.ours)
            self._keys = outbound_keys(config)
            graph.engine.outbound = with_keys(Outbound(handoff), self._keys)
            self._writers.add(handoff)
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
        self.exchange_logs.take(config)
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
        await self._refresh_directory(graph)  # first, with the keys: what they need is no database
        await self._refresh_keys(graph)
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
        graph.engine.postmasters = our_postmasters(self.config, known[0])
        graph.known = known
        log.info("the directory has other domains or people", extra={"domains": len(known[0]), "people": len(known[1])})

    async def _refresh_keys(self, graph: Graph) -> None:
        """Sign again as soon as a key that could not be used can be: mail waits for it."""
        if not self._keys.problems or graph.engine.outbound is None:
            return
        keys = await asyncio.to_thread(outbound_keys, self.config)
        if graph is self.graph and keys.problems != self._keys.problems:
            self._keys = keys
            graph.engine.outbound = with_keys(graph.engine.outbound, keys)
            if not keys.problems:
                log.info("all DKIM keys can be used again")

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
        await asyncio.to_thread(self.exchange_logs.close)
        self._place.release()
