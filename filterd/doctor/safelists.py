"""Owns the look at whether safe and blocked senders of [[ldap]] can be used.  Must not know how their format is found out."""

from __future__ import annotations

import time

from filterd.adapters import safelist_store
from filterd.adapters.safelist_store import State
from filterd.config import Config
from filterd.doctor.finding import Finding, ok, warn

_WHAT = "safelists"


def safelists(config: Config) -> list[Finding]:
    """Nothing where no table asks for them and nothing is known."""
    wanted = [table.name for table in config.ldap if table.safelists]
    known = safelist_store.load(config.state_dir)
    if known.state is State.VERIFIED:
        date = time.strftime("%Y-%m-%d", time.gmtime(known.verified_ms / 1000))
        text = f"format verified on {date}"
        if config.ldap and not wanted:
            remedy = "set ldap.safelists = true to use them"
            return [warn(_WHAT, f"{text}, and no [[ldap]] table uses safe and blocked senders", remedy)]
        return [ok(_WHAT, text)]
    if wanted:
        text = f"ldap.safelists of {', '.join(wanted)} has no effect: the format of Exchange's hashes is not verified"
        return [warn(_WHAT, text, "run `filterd directory calibrate`; docs/safelists.md")]
    return []
