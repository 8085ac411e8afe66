"""Owns the look at pushed recipients: whether pushes can come, and how old the last list is.  Must not know how one is pushed."""

from __future__ import annotations

import time

from filterd.config import Config
from filterd.directory.snapshot import BadSnapshotError, Snapshot
from filterd.doctor.finding import Finding, fail, ok, warn

_WHAT = "push"
_HOUR_MS = 3_600_000
_SCRIPT = "look at the task that runs Push-FilterdDirectory.ps1 and at what it prints (docs/push.md)"


def pushed(config: Config) -> list[Finding]:
    """Nothing where push.enabled is false."""
    if not config.push.enabled:
        return []
    return [_list(config), *_door(config)]


def _door(config: Config) -> list[Finding]:
    if config.api.enabled:
        return []
    remedy = "set api.enabled = true, unless the side service is started by itself (docs/api.md)"
    return [warn(_WHAT, "api.enabled is false: no push can come", remedy)]


def _list(config: Config) -> Finding:
    path = config.state_dir / "directory" / "push.snapshot"
    try:
        snapshot = Snapshot(path)
    except FileNotFoundError:
        text = "no list was pushed yet: recipients that nobody else knows get 451 4.4.3"
        return fail(_WHAT, text, "run the script (docs/push.md), or set push.enabled = false")
    except (OSError, BadSnapshotError) as error:
        return fail(_WHAT, str(error), "the next push writes a new one: run the script")
    age = time.time() * 1000 - snapshot.header.read_ms
    hours = age / _HOUR_MS
    old = f"{age / 60_000:.0f} minutes old" if hours < 2 else f"{hours:.0f} hours old"
    text = f"{len(snapshot)} addresses, {old}"
    return warn(_WHAT, text, _SCRIPT) if hours >= config.push.warn_hours else ok(_WHAT, text)
