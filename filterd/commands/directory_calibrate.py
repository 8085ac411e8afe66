"""`filterd directory calibrate`: find out with entries that are known how Exchange hashes safe senders; docs/safelists.md."""

from __future__ import annotations

import argparse
import base64
import binascii
import re
import secrets
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from shlex import quote

from filterd.adapters import safelist_store
from filterd.adapters.safelist_ldap import NoSuchListError, safe_senders
from filterd.adapters.safelist_store import Calibration, State
from filterd.adapters.site_key import site_key
from filterd.commands.options import add_config, printable, time_text
from filterd.config import Config, LdapConfig, load_config
from filterd.directory.safelist import (
    HASH_BYTES,
    MAX_OCTETS,
    VARIANTS,
    Variant,
    calibrate,
    entries,
    is_sorted,
    tells_cases_apart,
)
from filterd.errors import ConfigError
from filterd.exchange.powershell import UnsafeValueError, literal
from filterd.mail.address import parse_mailbox

_HEX = re.compile(r"[0-9A-Fa-f]+")
_LETTERS = "bcdfghjkmnpqrstvwxz23456789"  # that nobody confuses, and that make no words


def register(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    action = group.add_parser(
        "calibrate", help="find out how Exchange hashes safe senders, with entries that are known"
    )
    action.add_argument("mailbox", nargs="?", help="address of the mailbox; without it what is known so far")
    action.add_argument("sender", nargs="?", metavar="KNOWN_SENDER", help="an address on its safe senders")
    action.add_argument("--ldap", metavar="NAME", help="the [[ldap]] table to ask (default: the first one)")
    action.add_argument("--value", help="msExchSafeSendersHash itself, in Base64 or hexadecimal; nobody is asked then")
    add_config(action)
    action.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what was found and what to do next; exit status 1 when the sender is not on the list."""
    config = load_config(options.config)
    known = safelist_store.load(config.state_dir)
    todo = partial(_next_lines, options.config, config)
    if options.mailbox is None:
        if options.value is not None:
            raise ConfigError(
                ["MAILBOX, KNOWN_SENDER: expected beside --value: whose list it is, and who stands on it"]
            )
        _print([*_state_lines(known), *todo(known, "test@example.org")])
        return 0
    mailbox, sender = _address("MAILBOX", options.mailbox), _address("KNOWN_SENDER", options.sender or "")
    try:
        attribute = (
            octets_of(options.value)
            if options.value is not None
            else safe_senders(config, _table(config, options.ldap), mailbox)
        )
    except NoSuchListError as error:
        _print([str(error), *todo(known, mailbox, sender)])
        return 1
    found = calibrate(attribute, sender)
    _print(_found_lines(mailbox, sender, attribute, found))
    if not found:
        _print(todo(known, mailbox, sender))
        return 1
    now_ms = int(time.time() * 1000)
    after = safelist_store.with_address(known, site_key(config.state_dir), sender, tuple(found), now_ms)
    if after != known:
        try:
            safelist_store.save(config.state_dir, after)
        except OSError as error:
            path = safelist_store.path_of(config.state_dir)
            raise ConfigError([f"{path}: cannot be written: {error.strerror}"]) from None
    contradicts = known.state is not State.NEW and not set(known.fitting) & set(found)
    if contradicts:
        _print(["this contradicts what fitted before: that is forgotten, and safe senders of LDAP are off"])
    _print([*_state_lines(after), *todo(after, mailbox)])
    return 0


def octets_of(text: str) -> bytes:
    """Octets from Base64, or hexadecimal as PowerShell's BitConverter or `Format-Hex` shows them.  Raises ConfigError."""
    if len(text) > 4 * MAX_OCTETS:
        raise ConfigError([f"--value: expected at most {MAX_OCTETS} octets"])
    digits = re.sub(r"[\s-]", "", text).removeprefix("0x")
    if len(digits) % 2 == 0 and _HEX.fullmatch(digits):
        return bytes.fromhex(digits)
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(["--value: expected the attribute's octets in Base64 or hexadecimal"]) from None


def _address(name: str, text: str) -> str:
    mailbox = parse_mailbox(text)
    if mailbox is None:
        raise ConfigError([f"{name}: expected an address such as Anna@example.org, found {text[:80]!r}"])
    return str(mailbox)


def _table(config: Config, name: str | None) -> LdapConfig:
    tables = [table for table in config.ldap if name in (None, table.name)]
    if not tables:
        known = ", ".join(table.name for table in config.ldap) or "none"
        remedy = "or give the attribute's octets with --value"
        raise ConfigError([f"--ldap: expected the name of an [[ldap]] table, there is {known}; {remedy}"])
    return tables[0]


def _found_lines(mailbox: str, sender: str, attribute: bytes, found: Sequence[Variant]) -> list[str]:
    count = len(entries(attribute))
    if not count:
        return [f"{mailbox}: {len(attribute)} octets are no list of entries of {HASH_BYTES} octets each"]
    order = "in ascending order" if is_sorted(attribute) else "NOT in ascending order, as Exchange's are"
    lines = [f"{mailbox}: {count} {'entry' if count == 1 else 'entries'}, {order}"]
    if not found:
        text = (
            f"{sender}: in none of {len(VARIANTS)} ways on the list; is it among the safe senders, letter for letter?"
        )
        return [*lines, text]
    return [*lines, *(f"{sender}: fits {variant.name}" for variant in found)]


def _state_lines(known: Calibration) -> list[str]:
    if known.state is State.VERIFIED:
        return [f"safelist format verified on {time_text(known.verified_ms)}: {known.fitting[0].name}"]
    if known.state is State.NEW:
        return ["safelist format not known: safe and blocked senders of LDAP are off"]
    count = len(known.fitting)
    ways = known.fitting[0].name if count == 1 else f"{count} ways fit: {', '.join(v.name for v in known.fitting[:8])}"
    addresses = f"{len(known.seen)} address{'es' if len(known.seen) > 1 else ''} so far"
    return [f"safelist format not verified yet, {addresses}: {ways}"]


def _next_lines(path: Path, config: Config, known: Calibration, mailbox: str, sender: str = "") -> list[str]:
    """What to do now; `sender` once more when it was not found."""
    if known.state is State.VERIFIED and not sender:
        off = [table.name for table in config.ldap if not table.safelists]
        lines = [f'set safelists = true in [[ldap]] with name = "{name}" to use it' for name in off]
        sync = f"filterd directory sync --full --config {quote(str(path))}"
        return [*lines, f"lists are used from the next full sync on: {sync}"]
    ambiguous = len(known.fitting) > 1 and len({variant.case for variant in known.fitting}) > 1
    address = sender or f"{'Verify' if known.seen else 'Calibrate'}-{_random()}@example.net"
    why = "in the Exchange Management Shell, with any mailbox:"
    if sender:
        why = "if it is not there yet, in the Exchange Management Shell:"
    elif ambiguous:
        why = "an address in small letters cannot tell two ways apart; one with capitals does, in the Exchange Management Shell:"
    if sender and not tells_cases_apart(sender):
        why = f"better with an address that has capital and small letters; {why}"
    try:
        quoted, added = literal(mailbox), literal(address)
    except UnsafeValueError as error:
        return [f"no command can be shown: {error}"]
    return [
        why,
        f"  Set-MailboxJunkEmailConfiguration {quoted} -TrustedSendersAndDomains @{{Add={added}}}",
        f"  Update-Safelist {quoted}",
        "then, after replication, here:",
        f"  filterd directory calibrate {quote(mailbox)} {quote(address)} --config {quote(str(path))}",
    ]


def _random() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(6))


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(printable(line))
