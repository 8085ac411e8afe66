"""Owns what supervisor and workers agree on: how much of a new configuration they can use, and how long a hand-over may take.

Must not know either of them: the supervisor carries nothing of what a worker needs.
"""

from __future__ import annotations

import logging

from filterd.config import Config

log = logging.getLogger(__name__)

HANDOVER_GRACE_S = 60.0  # beyond drain_seconds, for messages that upstream has and has not answered yet


def reloadable(fresh: Config, old: Config) -> Config:
    """`fresh` as far as running parts can use it: sockets, and what [server] says, stay those of the start."""

    def sockets(config: Config) -> list[tuple[object, ...]]:
        return [(g[0].address, g[0].port, g[0].proxy_from, g[0].tls == "implicit") for g in config.endpoints]

    if fresh.server != old.server:
        log.warning("changes of [server] need a restart; the rest is loaded now")
        fresh = fresh.model_copy(update={"server": old.server})
    if sockets(fresh) != sockets(old):
        log.warning(
            "address, port, proxy_from and tls = implicit of [[listeners]] need a restart; these stay as they are"
        )
        fresh = fresh.model_copy(update={"listeners": old.listeners})
    return fresh
