"""`filterd scan FILE`: the whole verdict for a file; exit status 0 clean, 1 not clean, 2 could not decide."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from filterd.app import build_scanner
from filterd.commands.explain import explanation, headline
from filterd.commands.options import add_config, add_json, print_json, table
from filterd.config import Config, load_config, parse_config
from filterd.errors import ConfigError, FilterdError
from filterd.mail.address import parse_mailbox
from filterd.storage.database import open_database

CLEAN, NOT_CLEAN, UNDECIDED = 0, 1, 2


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "scan",
        help="what filterd would decide about a message in a file",
        description="Exit status: 0 clean, 1 not clean (tag, quarantine, reject), 2 could not decide.",
    )
    command.add_argument("file", metavar="FILE", help="the message; - reads standard input")
    command.add_argument("--client-ip", required=True, metavar="A", help="address of the SMTP client")
    command.add_argument("--helo", default="", metavar="H", help="its HELO argument")
    command.add_argument("--mail-from", default="", metavar="M", help="reverse-path; empty for a bounce")
    command.add_argument("--rcpt-to", nargs="+", required=True, metavar="R", help="recipients", action="extend")
    add_config(command, required=False)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Scan and print."""
    logging.getLogger().setLevel(logging.CRITICAL)  # what is unavailable stands in the verdict
    config = load_config(options.config) if options.config else _default_config(options.rcpt_to)
    octets = _read(options.file, config.limits.message_bytes)
    database = open_database(config) if options.config else None
    scanner = build_scanner(config, database)
    verdict = asyncio.run(
        scanner.scan(
            octets,
            client_ip=options.client_ip,
            helo=options.helo,
            mail_from=options.mail_from,
            rcpt_to=options.rcpt_to,
        )
    )
    if options.json:
        print_json(verdict)
    else:
        print(render(verdict))
    if verdict["action"] == "defer":
        return UNDECIDED
    return CLEAN if verdict["action"] == "accept" else NOT_CLEAN


def _default_config(recipients: list[str]) -> Config:
    """Without a configuration every given recipient counts as known; DNS is the system's, the model is the seed."""
    mailboxes = [parse_mailbox(text.strip("<>")) for text in recipients]
    domains = sorted({mailbox.domain_key for mailbox in mailboxes if mailbox and not mailbox.domain.startswith("[")})
    return parse_config({"recipients": {"accepted_domains": domains}}, Path.cwd())


def _read(name: str, limit: int) -> bytes:
    try:
        if name == "-":
            octets = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                octets = file.read(limit + 1)
    except OSError as error:
        raise FilterdError(f"{name}: cannot be read: {error.strerror}") from None
    if len(octets) > limit:
        raise ConfigError([f"{name}: larger than limits.message_bytes ({limit})"])
    return octets


def render(verdict: dict[str, Any]) -> str:
    """The verdict as a page for people."""
    lines = [f"{headline(verdict)}  id {verdict['id']}", explanation(verdict)]
    lines += ["", "What was found:"]
    found = [
        (e["stage"], e["check"], e["result"], e["reason"], _details(e["detail"], e["log_text"]))
        for e in verdict["evidence"]
    ]
    lines.append(table(found, ("stage", "check", "result", "reason", "details")))
    if len(verdict["recipients"]) > 1:
        lines += ["", "Recipients:"]
        lines.append(
            table([(r["recipient"], r["action"], r["row"]) for r in verdict["recipients"]], ("to", "action", "row"))
        )
    return "\n".join(lines)


def _details(detail: str, text: str) -> str:
    """What was looked at and what the log has about it; once where the log begins with it."""
    return text if text.startswith(detail) else f"{detail} {text}".strip()
