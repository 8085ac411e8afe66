"""Owns whether a sync can go on from the last one: the same copy of the directory, asked the same, or another that may be behind.

Facts: exchange.md 3.3.  Must not know what is read, nor what becomes of it.
"""

from __future__ import annotations

import hashlib
import json

from filterd.adapters.ldap_root import Root
from filterd.config import LdapConfig
from filterd.directory.attributes import sender_bytes
from filterd.directory.snapshot import Snapshot
from filterd.directory.table import Table

_FORM = 2  # of what is kept of an object; raise it when attributes.py keeps something else


def asked(table: LdapConfig, bases: tuple[str, ...]) -> str:
    """What was asked for; with other settings what changed since is not enough."""
    parts = [_FORM, list(bases), list(table.address_attributes), table.safelists, table.user]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def state(
    table: LdapConfig, root: Root, url: str, invocation: str, bases: tuple[str, ...]
) -> dict[str, dict[str, str]]:
    """What the snapshot keeps for the next sync (Header.servers).

    Only the last server: of what others had not yet heard when this one was read nobody would ever hear.
    """
    usn = "" if root.usn is None else str(root.usn)
    return {root.host or url: {"invocation": invocation, "usn": usn, "asked": asked(table, bases), "url": url}}


def why_full(
    table: LdapConfig, old: Snapshot | None, root: Root, url: str, invocation: str, bases: tuple[str, ...], full: bool
) -> tuple[str, int]:
    """Why everything must be read; empty, and the USN to go on from, when what changed is enough.

    `full`: somebody, or the hour, has asked for everything.
    """
    if old is None:
        return "first sync", 0
    if full:
        return "everything was asked for", 0
    if root.usn is None or not invocation:
        return "this directory does not number its changes", 0
    last = old.header.servers.get(root.host or url)
    if last is None:
        return "another server than last time", 0
    if last.get("asked") != asked(table, bases) or old.sender_bytes != sender_bytes(safelists=table.safelists):
        return "other settings than last time", 0
    usn = last.get("usn", "")
    if last.get("invocation") != invocation:
        return "the server was restored from a backup", 0
    if not usn.isdigit() or int(usn) > root.usn:
        return "the server's changes went back: was it restored from a backup?", 0
    return "", int(usn)


def goes_on(old: Snapshot | None, root: Root, url: str, invocation: str) -> bool:
    """Whether this is the copy of the directory that was read last time.

    Another controller may not have heard yet of somebody whom the last one knew, and one that was restored from a backup has
    forgotten whoever came after it: that they lack him does not mean that he is gone.
    """
    if old is None:
        return True
    last = old.header.servers.get(root.host or url)
    if last is None or last.get("invocation") != invocation:
        return False
    usn = last.get("usn", "")
    return root.usn is None or (usn.isdigit() and int(usn) <= root.usn)


def behind(name: str, url: str, before: Table, fresh: Table) -> str:
    """Who stays because this copy may not have heard of them yet, in words; empty for nobody."""
    missing = before.missing_from(fresh)
    if not missing:
        return ""
    text = (
        f"{missing} addresses that {url} does not have stay for now, because the last sync read another server or copy"
    )
    return f"{text}: if they are gone, wait for the nightly sync, or run `filterd directory sync {name} --accept-drop`"
