"""`filterd token create | list | revoke`: access to the API."""

from __future__ import annotations

import argparse
import sys
import time

from filterd.commands.options import add_config, add_json, print_json, table, time_text
from filterd.config import load_config
from filterd.storage import tokens
from filterd.storage.database import open_database

SCOPES = ("admin", "read", "quarantine", "report", "learn", "lists", "directory")
_DAY_MS = 86_400_000


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    group = commands.add_parser("token", help="tokens for the API").add_subparsers(required=True, metavar="ACTION")
    create = group.add_parser("create", help="make a token; it is shown once")
    add_config(create)
    create.add_argument("--name", required=True, help="whose token it is")
    create.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        help="what it may do; may be repeated (default: read)",
        dest="scopes",
    )
    create.add_argument("--days", type=int, default=0, help="days until it expires; 0 means never (default 0)")
    add_json(create)
    create.set_defaults(run=run_create)
    show = group.add_parser("list", help="names and scopes of all tokens")
    add_config(show)
    add_json(show)
    show.set_defaults(run=run_list)
    revoke = group.add_parser("revoke", help="make a token useless at once")
    revoke.add_argument("id", help="the token's id, as shown by list")
    add_config(revoke)
    revoke.set_defaults(run=run_revoke)


def run_create(options: argparse.Namespace) -> int:
    """Make a token and print it, alone on its line."""
    database = open_database(load_config(options.config))
    expires = int(time.time() * 1000) + options.days * _DAY_MS if options.days > 0 else None
    token = tokens.create(database, options.name, tuple(options.scopes or ["read"]), expires)
    if options.json:
        print_json({"token": token, "name": options.name, "scopes": options.scopes or ["read"], "expires_ms": expires})
    else:
        print(token)
        print("Keep it: it is not shown again.  Use it as  Authorization: Bearer TOKEN", file=sys.stderr)
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print every token without its secret."""
    found = tokens.list_tokens(open_database(load_config(options.config)))
    if options.json:
        print_json([{"id": t.id, "name": t.name, "scopes": t.scopes, "expires_ms": t.expires_ms} for t in found])
    else:
        rows = [(t.id, t.name, time_text(t.expires_ms) if t.expires_ms else "never", " ".join(t.scopes)) for t in found]
        print(table(rows, ("id", "name", "expires", "scopes")))
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """Revoke one token; exit status 1 when there is none with that id."""
    if tokens.revoke(open_database(load_config(options.config)), options.id):
        return 0
    print(f"filterd: no token {options.id}", file=sys.stderr)
    return 1
