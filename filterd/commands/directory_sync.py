"""`filterd directory sync`: read recipients from the directories of [[ldap]] now, and say what came of it."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from pathlib import Path

from filterd.commands.options import add_config, printable
from filterd.config import Config, LdapConfig, load_config
from filterd.directory_sync import Outcome, Sync
from filterd.errors import ConfigError, FilterdError


def register(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    action = group.add_parser("sync", help="read recipients from Active Directory or another LDAP directory now")
    action.add_argument("name", nargs="?", metavar="NAME", help="one [[ldap]] table; without it all of them")
    action.add_argument("--full", action="store_true", help="read everything, not only what has changed")
    action.add_argument(
        "--accept-drop", action="store_true", help="take over a list from which more is gone than the guard allows"
    )
    add_config(action)
    action.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """One line for each table; exit status 1 when one of them failed.  Workers take a new list within two seconds.

    Raises ConfigError when nothing can be tried.
    """
    config = load_config(options.config)
    tables = _tables(config, options.name)
    _is_owner(config.state_dir)
    failed = False
    for table in tables:
        try:
            outcome = Sync(config, table).run(full=options.full, accept_drop=options.accept_drop)
        except FilterdError as error:
            print(f"{table.name}: not synced: {printable(str(error))}", file=sys.stderr)
            failed = True
            continue
        print("\n".join(printable(line) for line in lines(outcome)), flush=True)
    return 1 if failed else 0


def lines(outcome: Outcome) -> list[str]:
    """What happened, for people."""
    why = f" ({outcome.why})" if outcome.why else ""
    known = ["accepted domains are not read"] if outcome.domains is None else [f"{outcome.domains} accepted domains"]
    if outcome.people:
        known.append(f"{outcome.people} protected people")
    first = (
        f"{outcome.name}: {outcome.kind}{why}: {outcome.addresses} addresses of {outcome.objects} recipients, "
        f"{outcome.added} added, {outcome.dropped} dropped; {', '.join(known)}; {outcome.seconds:.1f} s, {outcome.server}"
    )
    return [first, *(f"  note: {note}" for note in outcome.notes)]


def _tables(config: Config, name: str | None) -> list[LdapConfig]:
    if not config.ldap:
        raise ConfigError(["ldap: there is no [[ldap]] table: add one with the urls of your domain controllers"])
    tables = [table for table in config.ldap if name in (None, table.name)]
    if not tables:
        known = ", ".join(table.name for table in config.ldap)
        raise ConfigError([f"{name}: there is no [[ldap]] table of this name; there are {known}"])
    return tables


def _is_owner(folder: Path) -> None:
    """A list that root has written could not be read by the service.  Raises ConfigError."""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return  # it is made, or writing says why not
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise ConfigError(
        [f"{folder} belongs to {name}: run this as that user (sudo -u {name} …), else filterd cannot read it"]
    )
