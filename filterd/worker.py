"""Owns the life of one SMTP worker process: listen, refresh, reload, drain.  Must not decide anything about mail."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from pathlib import Path

from filterd.app import App
from filterd.config import Config, load_active
from filterd.errors import ConfigError, FilterdError
from filterd.frontends.smtp.server import ListenerHandle, serve_listener
from filterd.frontends.smtp.shared import Admission
from filterd.parent import watch_parent

log = logging.getLogger(__name__)

HANDOVER_GRACE_S = 60.0  # beyond drain_seconds, for messages that upstream has and has not answered yet


def run(config: Config, path: Path, slot: str, sockets: list[socket.socket]) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP loads the configuration again.  `sockets`: one per listener, listening."""
    try:
        import uvloop
    except ImportError:  # no wheel for this platform: the standard loop serves as well, with more memory under TLS
        asyncio.run(_serve(config, path, slot, sockets))
    else:
        uvloop.run(_serve(config, path, slot, sockets))


async def _serve(config: Config, path: Path, slot: str, sockets: list[socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    again = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    app = await asyncio.to_thread(App, config, slot)
    handles: list[ListenerHandle] = []
    admission = Admission(config.limits)
    for listener, sock in zip(config.listeners, sockets, strict=True):
        handles.append(
            await serve_listener(
                sock,
                listener,
                config.limits,
                config.server.hostname,
                app.session,
                spool_dir=config.state_dir / "tmp",
                upstream_extensions=lambda: app.upstream_extensions,
                admission=admission,
            )
        )
        log.info("listening", extra={"listener": listener.name, "address": sock.getsockname()[:2], "slot": slot})
    tasks = [
        asyncio.create_task(app.warm_up()),
        asyncio.create_task(app.refresh_forever()),
        asyncio.create_task(_reload(app, path, again, handles)),
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
    log.info("stopped", extra={"slot": slot})


async def _reload(app: App, path: Path, again: asyncio.Event, handles: list[ListenerHandle]) -> None:
    while True:
        await again.wait()
        again.clear()
        try:
            fresh = await asyncio.to_thread(load_active, path)
            # The sockets are those of the start, and so is what listens on them.
            fresh = fresh.model_copy(update={"server": app.config.server, "listeners": app.config.listeners})
            for handle, listener in zip(handles, fresh.listeners, strict=True):
                handle.reload_certificate(listener)
            await app.reload(fresh)
        except ConfigError as error:
            log.error("new configuration refused, the old one stays", extra={"problems": error.problems})
        except FilterdError as error:
            log.error("cannot load the configuration again, the old one stays", extra={"error": str(error)})
