"""`filterd directory test | status | hash`: what is known of an address and from where, the sources, and a list without addresses."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

from filterd.adapters.directory_file import addresses_in, hashed_lines
from filterd.adapters.site_key import site_key
from filterd.commands.options import add_config, add_json, print_json, printable, quiet_log, table, time_text
from filterd.config import load_config
from filterd.directory.values import AcceptedDomain, DomainType, RecipientStatus, Thresholds
from filterd.directory_view import UNAVAILABLE, AddressView, DirectoryView, SourceView, json_of
from filterd.errors import ConfigError

KNOWN, NOBODY, LATER = 0, 1, 3  # exit statuses of `test`; 2 is an input that cannot be used, as everywhere
T = TypeVar("T")
_STATUS = {
    RecipientStatus.KNOWN: "known",
    RecipientStatus.UNKNOWN: "unknown",
    RecipientStatus.FOREIGN_DOMAIN: "no accepted domain",
    RecipientStatus.INTERNAL_ONLY: "known, takes no mail from outside",
    UNAVAILABLE: "cannot be known now",
}
_TYPES = {
    DomainType.AUTHORITATIVE: "authoritative: every recipient is looked up",
    DomainType.INTERNAL_RELAY: "internal relay: ours, nobody is unknown",
    DomainType.EXTERNAL_RELAY: "external relay: passed on, not ours, nobody is unknown",
}


def register(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the actions."""
    test = group.add_parser("test", help="what is known of an address, from where, and what a stranger is told")
    test.add_argument("address", help="such as anna@example.org")
    test.add_argument("--sender", metavar="ADDRESS", help="also say whether this sender is safe or blocked there")
    test.set_defaults(run=run_test)
    status = group.add_parser("status", help="the sources of recipients: how many, how old, what is wrong")
    status.set_defaults(run=run_status)
    hashed = group.add_parser("hash", help="turn a list of addresses into one of hashes, for recipients.hashed_file")
    hashed.add_argument("file", type=Path, help="one address a line, # starts a comment")
    hashed.add_argument("--output", type=Path, metavar="FILE", help="put it there at once; without it, standard output")
    hashed.set_defaults(run=run_hash)
    for action in (test, status):
        add_json(action)
    for action in (test, status, hashed):
        add_config(action)


def run_test(options: argparse.Namespace) -> int:
    """Exit status: 0 known, 1 unknown or no accepted domain, 3 cannot be known now."""
    found = _ask(options, lambda view: view.test(options.address, options.sender))
    if options.json:
        print_json(json_of(found))
    else:
        print("\n".join(printable(line) for line in address_lines(found, time.time() * 1000)))
    if found.status == UNAVAILABLE:
        return LATER
    return KNOWN if found.is_known else NOBODY


def run_status(options: argparse.Namespace) -> int:
    """Exit status 1 when one of the sources cannot be used, or is older than it should be."""

    async def look(view: DirectoryView) -> tuple[list[SourceView], tuple[AcceptedDomain, ...], int]:
        return await view.status(), view.directory.domains(), len(view.directory.people())

    sources, domains, people = _ask(options, look)
    if options.json:
        named = [{"name": d.name, "type": d.type.value, "subdomains": d.subdomains} for d in domains]
        print_json({"sources": [source.json() for source in sources], "domains": named, "protected_people": people})
    else:
        print("\n".join(status_lines(sources, domains, people, time.time() * 1000)))
    return 1 if any(source.status.problem for source in sources) else 0


def run_hash(options: argparse.Namespace) -> int:
    """Write the list; with --output whole or not at all."""
    config = load_config(options.config)
    try:
        lines = [f"{line}\n" for line in hashed_lines(addresses_in(options.file), site_key(config.state_dir))]
        if len(lines) < 2:  # behind the line that names the key
            raise ConfigError(
                [f"{options.file}: expected at least one address, found none: such a list is not believed"]
            )
        if options.output is None:
            sys.stdout.writelines(lines)
        else:
            _put(options.output, lines)
            print(f"{options.output}: {len(lines) - 1} addresses")
    except OSError as error:
        raise ConfigError([f"{error.filename or options.file}: {error.strerror}"]) from None
    return 0


def address_lines(found: AddressView, now_ms: float) -> list[str]:
    """What is known of one address, for people."""
    lines = [f"{found.address}: {_STATUS[found.status]}"]
    if found.problem:
        lines.append(f"  because   {found.problem}")
    elif found.backend and found.status != RecipientStatus.FOREIGN_DOMAIN:  # what no source has, none of them says
        age = "" if found.as_of_ms is None else f", as of {time_text(found.as_of_ms)} ({_age(found.as_of_ms, now_ms)})"
        lines.append(f"  from      {_words(found.backend)}{age}")
    if found.domain:
        lines.append(f"  domain    {found.domain}, {_TYPES[DomainType(found.domain_type)]}")
    if found.thresholds != Thresholds():
        lines.append(f"  mailbox   {_thresholds(found.thresholds)}")
    lines.append(f"  stranger  {found.reply}")
    if found.sender is not None:
        said = found.sender_word or ("neither safe nor blocked" if found.has_senders else "no list of senders is known")
        lines.append(f"  sender    {found.sender}: {said}")
    return lines


def status_lines(
    sources: list[SourceView], domains: tuple[AcceptedDomain, ...], people: int, now_ms: float
) -> list[str]:
    """The sources and what they add up to, for people."""
    lines = [
        table([_row(source, now_ms) for source in sources], ("source", "recipients", "as of", "read anew", "state"))
    ]
    if not sources:
        lines = ["No source of recipients is configured: every recipient of an accepted domain is known."]
    said = [(s.status.name, text) for s in sources for text in (s.status.problem, *s.status.notes) if text]
    if said:
        lines += ["", *(f"{name}: {printable(text)}" for name, text in said)]
    none = "none, so all mail is put off (451)" if sources else "none, so all mail is refused"
    lines += ["", f"accepted domains: {len(domains) or none}"]
    below = {True: ", its subdomains too", False: ""}
    lines += [f"  {d.name}  {_words(d.type.value)}{below[d.subdomains]}" for d in domains[:_SHOWN]]
    lines += [f"  and {len(domains) - _SHOWN} more (--json has all)"] if len(domains) > _SHOWN else []
    return [*lines, f"protected people: {people}"]


_SHOWN = 30  # accepted domains


def _row(source: SourceView, now_ms: float) -> tuple[str, ...]:
    status = source.status
    state = "cannot answer" if not status.usable else "see below" if status.problem else "ok"
    state += ", being written" if source.busy else ""
    count = "-" if status.recipients is None else f"{status.recipients:,}"
    return (status.name, count, _age(status.read_ms, now_ms), _age(status.full_ms, now_ms), state)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _age(at_ms: int | None, now_ms: float) -> str:
    """How long ago, in words that are exact enough to act on."""
    if at_ms is None:
        return "-"
    minutes = max(0, int((now_ms - at_ms) / 60_000))
    if minutes < 2:
        return "just now"
    if minutes < 120:
        return f"{minutes} minutes ago"
    return f"{minutes // 60} hours ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def _thresholds(limits: Thresholds) -> str:
    named = (("junk above", limits.junk), ("quarantine from", limits.quarantine), ("reject from", limits.reject))
    parts = [f"{what} {scl}" for what, scl in (*named, ("delete from", limits.delete)) if scl is not None]
    return f"SCL of its own: {', '.join(parts)}"


def _ask(options: argparse.Namespace, question: Callable[[DirectoryView], Coroutine[None, None, T]]) -> T:
    async def scene() -> T:
        view = DirectoryView(load_config(options.config))
        try:
            return await question(view)
        finally:
            await view.close()

    with quiet_log():  # what is wrong with a source stands in the answer
        return asyncio.run(scene())


def _put(path: Path, lines: list[str]) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w", encoding="ascii") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
