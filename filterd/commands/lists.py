"""`filterd lists add | import | remove | show | test`: own allow and block entries; workers take them over within seconds."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from filterd.checks.lists import Kind, NetworkTable
from filterd.commands.listfile import MAX_BYTES, expiry_days, expiry_until, read_entries
from filterd.commands.options import add_config, add_json, print_json, table, time_text
from filterd.config import Config, load_config
from filterd.errors import ConfigError
from filterd.mail.envelope import IPAddress, parse_ip
from filterd.storage import lists
from filterd.storage.database import Database, now_ms, open_database
from filterd.storage.lists import ListEntry

_BY = "command line"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    group = commands.add_parser("lists", help="own IP allow and block lists").add_subparsers(
        required=True, metavar="ACTION"
    )
    add = group.add_parser("add", help="allow or block an address, a network or a range")
    add.add_argument("kind", choices=("allow", "block"))
    add.add_argument("network", help="192.0.2.1, 192.0.2.0/24, 2001:db8::/32 or 192.0.2.10-192.0.2.40")
    add.add_argument("--comment", default="", help="why")
    ends = add.add_mutually_exclusive_group()
    ends.add_argument("--days", default="0", help="days until it expires; 0 means never (default 0)")
    ends.add_argument("--until", metavar="DATE", help="last day on which it counts, in UTC, such as 2026-12-31")
    add.set_defaults(run=run_add)
    load = group.add_parser("import", help="add all entries of a file, or none when one is bad")
    load.add_argument("file", type=Path, help="lines of: allow|block network [days] [# comment]")
    load.set_defaults(run=run_import)
    remove = group.add_parser("remove", help="remove an entry")
    remove.add_argument("id", type=int, help="the entry's number, as shown by show")
    remove.set_defaults(run=run_remove)
    show = group.add_parser("show", help="all entries")
    add_json(show)
    show.set_defaults(run=run_show)
    test = group.add_parser("test", help="which entry decides about an address")
    test.add_argument("address", help="such as 192.0.2.1 or 2001:db8::1")
    add_json(test)
    test.set_defaults(run=run_test)
    for command in (add, load, remove, show, test):
        add_config(command)


def run_add(options: argparse.Namespace) -> int:
    """Add one entry, or replace comment and expiry of the same one; its number is printed."""
    database = open_database(load_config(options.config))
    try:
        expires = expiry_until(options.until, now_ms()) if options.until else expiry_days(options.days, now_ms())
    except ValueError as error:
        raise ConfigError([str(error)]) from None
    print(lists.add(database, options.network, options.kind, options.comment, _BY, expires).id)
    return 0


def run_import(options: argparse.Namespace) -> int:
    """Add the entries of a file, all or none; how many is printed."""
    config = load_config(options.config)
    try:
        with options.file.open("rb") as file:
            octets = file.read(MAX_BYTES + 1)
        if len(octets) > MAX_BYTES:
            raise ConfigError([f"{options.file}: expected at most {MAX_BYTES} octets; split it"])
        text = octets.decode("utf-8-sig")  # Windows puts a byte order mark before it
    except OSError as error:
        raise ConfigError([f"{options.file}: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{options.file}: expected text in UTF-8, octet {error.start} is none"]) from None
    entries = read_entries(text, str(options.file), now_ms())
    print(lists.add_all(open_database(config), entries, _BY))
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
        rows = [(str(e.id), e.kind, e.network, _expiry(e.expires_ms), e.comment) for e in entries]
        print(table(rows, ("id", "kind", "network", "expires", "comment")))
    return 0


@dataclass(frozen=True, slots=True)
class Holder:
    """An entry that counts now, wherever it stands.

    Attributes:
        source: configuration or database.
        id: its number in the database, None in the configuration.
    """

    kind: Kind
    network: str
    source: str
    comment: str = ""
    expires_ms: int | None = None
    id: int | None = None


def run_test(options: argparse.Namespace) -> int:
    """Print the entry that decides about an address; exit status 1 when none holds it."""
    config = load_config(options.config)
    try:
        address = parse_ip(options.address)
    except ValueError:
        raise ConfigError([f"address: expected one such as 192.0.2.1, found {options.address[:80]!r}"]) from None
    found = holder_of(config, open_database(config), address)
    if options.json:
        print_json({"address": str(address), "entry": asdict(found) if found else None})
    elif found is None:
        print(f"{address}: no entry holds it")
    else:
        number = "" if found.id is None else str(found.id)
        row = (str(address), found.kind, found.network, found.source, number, _expiry(found.expires_ms), found.comment)
        print(table([row], ("address", "kind", "network", "source", "id", "expires", "comment")))
    return 0 if found else 1


def holder_of(config: Config, database: Database, address: IPAddress) -> Holder | None:
    """The entry that decides about `address`: of all that count now the most specific, allow before block."""
    at = now_ms()
    held = [_holder(e) for e in lists.list_all(database) if e.expires_ms is None or e.expires_ms > at]
    held += [Holder("block", network, "configuration") for network in config.lists.block]
    held += [Holder("allow", network, "configuration") for network in config.lists.allow]
    entry = NetworkTable((h.network, h.kind, str(number)) for number, h in enumerate(held)).look_up(address)
    return held[int(entry[1])] if entry else None


def _holder(entry: ListEntry) -> Holder:
    kind: Kind = "allow" if entry.kind is lists.ListKind.ALLOW else "block"
    return Holder(kind, entry.network, "database", entry.comment, entry.expires_ms, entry.id)


def _expiry(expires_ms: int | None) -> str:
    return time_text(expires_ms) if expires_ms is not None else "never"
