"""Owns the life of one SMTP worker process: listen, refresh, reload, drain.  Must not decide anything about mail."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from pathlib import Path

from filterd.adapters.accounts import build_authenticator
from filterd.adapters.protocol_log import ProtocolLog
from filterd.app import App
from filterd.config import Config, load_active
from filterd.errors import ConfigError, FilterdError
from filterd.frontends.smtp.admission import Admission
from filterd.frontends.smtp.server import EndpointHandle, Listeners, build, make_room, serve_endpoint
from filterd.frontends.smtp.shared import FrontEnd
from filterd.frontends.smtp.spool import SpoolRoom
from filterd.parent import watch_parent
from filterd.ports import Tallies
from filterd.reloading import HANDOVER_GRACE_S
from filterd.reloading import reloadable as reloadable

log = logging.getLogger(__name__)


def run(config: Config, path: Path, slot: str, sockets: list[socket.socket], tallies: Tallies) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP loads the configuration again.

    `sockets`: one per group of Config.endpoints, listening.  `tallies`: shared by all workers.
    """
    allow_files()
    try:
        import uvloop
    except ImportError:  # no wheel for this platform: the standard loop serves as well, with more memory under TLS
        asyncio.run(_serve(config, path, slot, sockets, tallies))
    else:
        uvloop.run(_serve(config, path, slot, sockets, tallies))


def allow_files() -> None:
    """As many open files as this process may have: the usual 1024 are fewer than limits.connections and upstream need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # some systems say "infinity" and mean less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def front_end(config: Config, app: App, tallies: Tallies, protocol_log: ProtocolLog) -> FrontEnd:
    """What all listeners of this worker share."""
    limits = config.limits
    room = SpoolRoom(config.state_dir / "tmp", limits.spool_bytes, limits.spool_memory_bytes, limits.spool_disk_bytes)
    return FrontEnd(
        hostname=config.server.hostname,
        clients=config.clients,
        sessions=app.session,
        room=room,
        admission=Admission(limits, config.clients, tallies),
        upstream_extensions=lambda: app.upstream_extensions,
        outbound_extensions=lambda: app.outbound_extensions,
        authenticator=build_authenticator(config.auth),
        transcripts=protocol_log,
        every_transcript=lambda: app.exchange_logs if app.exchange_logs.wants_conversations else None,
    )


def listeners_of(config: Config) -> list[Listeners]:
    """For each socket its listeners, each with its limits."""
    return [[(listener, config.limits_of(listener)) for listener in group] for group in config.endpoints]


async def _serve(config: Config, path: Path, slot: str, sockets: list[socket.socket], tallies: Tallies) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    again = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # the supervisor held it back until now
    app = await asyncio.to_thread(App, config, slot, tallies)
    protocol_log = ProtocolLog(config.state_dir / "log", slot)
    front = front_end(config, app, tallies, protocol_log)
    handles: list[EndpointHandle] = []
    front.admission.make_room = lambda: make_room(handles, loop.time())
    for listeners, sock in zip(listeners_of(config), sockets, strict=True):
        handles.append(await serve_endpoint(sock, listeners, front))
        names = ", ".join(listener.name for listener, _ in listeners)
        log.info("listening", extra={"listener": names, "address": sock.getsockname()[:2], "slot": slot})
    tasks = [
        asyncio.create_task(app.warm_up()),
        asyncio.create_task(app.refresh_forever()),
        asyncio.create_task(_reload(app, front, path, again, handles)),
        asyncio.create_task(watch_parent(stop.set)),
    ]
    try:
        await stop.wait()
        log.info("draining", extra={"slot": slot})
        running = await asyncio.gather(*(handle.drain(app.config.server.drain_seconds) for handle in handles))
        if any(running):  # upstream has messages and has not answered: wait, or they would be in doubt
            await asyncio.gather(*(handle.drain(HANDOVER_GRACE_S) for handle in handles))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await app.close()
        await asyncio.to_thread(protocol_log.close)
    log.info("stopped", extra={"slot": slot})


async def _reload(app: App, front: FrontEnd, path: Path, again: asyncio.Event, handles: list[EndpointHandle]) -> None:
    while True:
        await again.wait()
        again.clear()
        try:
            fresh = reloadable(await asyncio.to_thread(load_active, path), app.config)
            authenticator = build_authenticator(fresh.auth)
            groups = listeners_of(fresh)
            for group in groups:  # all certificates are read before any of them is used
                build(front, group)
            await app.reload(fresh)
            for handle, group in zip(handles, groups, strict=True):
                handle.reload(group)
            front.clients, front.authenticator = fresh.clients, authenticator
            front.admission.limits, front.admission.clients = fresh.limits, fresh.clients
            front.room.memory_bytes = fresh.limits.spool_memory_bytes
            front.room.disk_bytes = fresh.limits.spool_disk_bytes
        except ConfigError as error:
            log.error("new configuration refused, the old one stays", extra={"problems": error.problems})
        except FilterdError as error:
            log.error("cannot load the configuration again, the old one stays", extra={"error": str(error)})
