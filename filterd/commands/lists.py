"""`filterd lists add | remove | show`: own allow and block entries; workers take them over within seconds."""

from __future__ import annotations

import argparse
import sys
import time

from filterd.commands.options import add_config, add_json, print_json, table, time_text
from filterd.config import load_config
from filterd.storage import lists
from filterd.storage.database import open_database

_DAY_MS = 86_400_000


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    group = commands.add_parser("lists", help="own IP allow and block lists").add_subparsers(
        required=True, metavar="ACTION"
    )
    add = group.add_parser("add", help="allow or block an address or network")
    add.add_argument("kind", choices=("allow", "block"))
    add.add_argument("network", help="192.0.2.1 or 192.0.2.0/24 or 2001:db8::/32")
    add.add_argument("--comment", default="", help="why")
    add.add_argument("--days", type=float, default=0, help="days until it expires; 0 means never (default 0)")
    add_config(add)
    add.set_defaults(run=run_add)
    remove = group.add_parser("remove", help="remove an entry")
    remove.add_argument("id", type=int, help="the entry's number, as shown by show")
    add_config(remove)
    remove.set_defaults(run=run_remove)
    show = group.add_parser("show", help="all entries")
    add_config(show)
    add_json(show)
    show.set_defaults(run=run_show)


def run_add(options: argparse.Namespace) -> int:
    """Add one entry."""
    database = open_database(load_config(options.config))
    expires = int(time.time() * 1000 + options.days * _DAY_MS) if options.days > 0 else None
    print(lists.add(database, options.network, options.kind, options.comment, "command line", expires).id)
    return 0


def run_remove(options: argparse.Namespace) -> int:
    """Remove one entry; exit status 1 when there is none with that number."""
    if lists.remove(open_database(load_config(options.config)), options.id):
        return 0
    print(f"filterd: no entry {options.id}", file=sys.stderr)
    return 1


def run_show(options: argparse.Namespace) -> int:
    """Print all entries, expired ones too."""
    entries = lists.list_all(open_database(load_config(options.config)))
    if options.json:
        print_json(
            [
                {"id": e.id, "network": e.network, "kind": e.kind, "comment": e.comment, "expires_ms": e.expires_ms}
                for e in entries
            ]
        )
    else:
        rows = [
            (str(e.id), e.kind, e.network, time_text(e.expires_ms) if e.expires_ms else "never", e.comment)
            for e in entries
        ]
        print(table(rows, ("id", "kind", "network", "expires", "comment")))
    return 0
