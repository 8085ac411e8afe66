"""`filterd protocol ID`: the SMTP conversations in which a message was spoken about, or of a client address."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filterd.adapters.protocol_log import KEEP_DAYS, search
from filterd.commands.options import add_config, add_json, printable
from filterd.config import load_config
from filterd.errors import FilterdError
from filterd.mail.envelope import parse_ip


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("protocol", help="the SMTP conversation of a message, command by command")
    command.add_argument("word", metavar="ID|ADDRESS", help="the id in brackets in SMTP replies, or a client's address")
    command.add_argument("--days", type=int, default=KEEP_DAYS, help=f"how far to look back (default {KEEP_DAYS})")
    add_config(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print each as soon as it is found; exit status 1 when there is none."""
    config = load_config(options.config)
    if options.days < 1:
        raise FilterdError(f"--days: expected 1 or more, found {options.days}")
    found = _conversations(config.state_dir / "log", _as_written(options.word), options.days)
    number = _print_json(found) if options.json else _print_text(found)
    if not number:
        modes = ", ".join(f"{each.name}: {each.protocol_log}" for each in config.listeners)
        text = f"no conversation with {printable(options.word)} in the protocol log"
        print(f"filterd: {text} (protocol_log of listeners: {modes})", file=sys.stderr)
        return 1
    return 0


def _as_written(word: str) -> str:
    """An id or an address in the one form that the log has."""
    plain = word.strip("[] ")
    with suppress(ValueError):
        return str(parse_ip(plain))
    return plain.upper()


def _conversations(folder: Path, word: str, days: int) -> Iterator[dict[str, Any]]:
    try:
        with suppress(FileNotFoundError):
            os.scandir(folder).close()  # a folder that may not be read would look like an empty one
        yield from search(folder, word, days)
    except OSError as error:
        raise FilterdError(f"{error.filename}: {error.strerror}; it can be read by the user filterd runs as") from None


def _print_text(found: Iterator[dict[str, Any]]) -> int:
    number = 0
    for entry in found:
        print(as_text(entry))
        number += 1
    return number


def _print_json(found: Iterator[dict[str, Any]]) -> int:
    """A list, one conversation a line: there may be more than fit into memory."""
    number = 0
    for number, entry in enumerate(found, 1):
        sys.stdout.write(f"{',' if number > 1 else '['}\n{json.dumps(entry)}")
    print("\n]" if number else "[]")
    return number


def as_text(entry: dict[str, Any]) -> str:
    """One conversation for people: times are seconds from its beginning."""
    began = datetime.fromtimestamp(entry["at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    head = f"{began}  {entry['listener']}  {entry['client']}  ended: {entry['end']}"
    lines = [head]
    for at, who, text in entry["lines"]:
        first, *more = str(text).split("\r\n")
        lines.append(f"{at:9.3f} {who}: {printable(first)}")
        lines += [f"{'':9} {who}: {printable(line)}" for line in more]
    return "\n".join(lines) + "\n"
