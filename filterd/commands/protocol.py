"""`filterd protocol ID`: the SMTP conversations in which a message was spoken about, or of a client address."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from filterd.adapters.protocol_log import KEEP_DAYS, search
from filterd.commands.options import add_config, add_json, print_json, printable
from filterd.config import load_config
from filterd.errors import FilterdError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("protocol", help="the SMTP conversation of a message, command by command")
    command.add_argument("word", metavar="ID|ADDRESS", help="the id in brackets in SMTP replies, or a client's address")
    command.add_argument("--days", type=int, default=KEEP_DAYS, help=f"how far to look back (default {KEEP_DAYS})")
    add_config(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print them; exit status 1 when there is none."""
    config = load_config(options.config)
    word = options.word.strip("[]")
    try:
        found = list(search(config.state_dir / "log", word, options.days))
    except OSError as error:
        raise FilterdError(f"{error.filename}: {error.strerror}") from None
    if options.json:
        print_json(found)
    else:
        for entry in found:
            print(as_text(entry))
    if not found:
        modes = ", ".join(f"{each.name}: {each.protocol_log}" for each in config.listeners)
        text = f"no conversation with {printable(word)} in the protocol log (protocol_log of listeners: {modes})"
        print(f"filterd: {text}", file=sys.stderr)
        return 1
    return 0


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
