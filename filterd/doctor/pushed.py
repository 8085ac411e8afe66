"""Owns the look at pushed recipients: whether pushes can come, and how old the last list is.  Must not know how one is pushed."""

from __future__ import annotations

import time
from pathlib import Path

from filterd.adapters.site_key import path_of, site_key
from filterd.config import Config
from filterd.directory.snapshot import BadSnapshotError, Header, Snapshot
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.errors import ConfigError

_WHAT = "push"
_HOUR_MS = 3_600_000
_FUTURE_MS = 60_000  # a clock that is set right by seconds is no news
_GUARD = "look at what the script reads; when it is right, run it once with -AcceptDrop"
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
    if not _is_ours(snapshot.header, config.state_dir):
        text = "the list was made with another site key: recipients that nobody else knows get 451 4.4.3"
        return fail(_WHAT, text, "run the script: the next push puts it right (docs/push.md)")
    age = time.time() * 1000 - snapshot.header.read_ms
    if age < -_FUTURE_MS:
        text = f"{len(snapshot)} addresses, {-age / 60_000:.0f} minutes from now: a clock was wrong"
        return warn(_WHAT, text, "look at the clock of this machine; the next push sets it right")
    hours = age / _HOUR_MS
    old = f"{max(0, age) / 60_000:.0f} minutes old" if hours < 2 else f"{hours:.0f} hours old"
    text = f"{len(snapshot)} addresses, {old}"
    if snapshot.header.notes:  # what the guard said of the last push
        return warn(_WHAT, f"{text}; {'; '.join(snapshot.header.notes)}", _GUARD)
    return warn(_WHAT, text, _SCRIPT) if hours >= config.push.warn_hours else ok(_WHAT, text)


def _is_ours(header: Header, state_dir: Path) -> bool:
    """Whether its keys are of use; looks for the site's key, and makes none."""
    try:
        return path_of(state_dir).exists() and header.is_under(site_key(state_dir))
    except ConfigError:
        return False
