"""`filterd trace ID`: what happened to one message, and why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from filterd.commands.explain import alike, explanation, headline, named
from filterd.commands.options import add_config, add_json, print_json, printable, table, time_text
from filterd.config import load_config
from filterd.mail.authres import METHODS, results
from filterd.mail.evidence import Evidence
from filterd.storage import ledger
from filterd.storage.database import open_database


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("trace", help="what happened to a message, by its id")
    command.add_argument("id", metavar="ID", help="the id in brackets in SMTP replies, headers and logs")
    add_config(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the trace; exit status 1 when the id is unknown."""
    found = ledger.trace(open_database(load_config(options.config)), options.id.strip("[]"))
    if found is None:
        print(f"filterd: no message {options.id} in the ledger", file=sys.stderr)
        return 1
    if options.json:
        print_json(as_json(found))
        return 0
    m, record = found.message, found.evidence
    print(f"{m.id}  {time_text(m.received_ms)}  from {m.client_ip} ({printable(m.helo)})  <{printable(m.mail_from)}>")
    if m.subject or m.header_from:
        print(table([(m.header_from, m.subject)], ("author", "subject")))
    rows = [(o.recipient, o.state, o.reply, o.detail) for o in m.outcomes]
    print(table(rows, ("recipient", "state", "reply", "detail")))
    if record is not None:
        for verdict, recipients in alike(record.verdicts):
            print(f"\n{named(recipients) or 'nobody'}: {headline(verdict)}")
            print(explanation(verdict))
        print("\n" + table(_authentication(record.evidence), ("authentication", "")))
    if (like := found.campaign) is not None:
        before = f"{like.like_hour} like it in the hour before, {like.like_day} in the day before"
        print(f"campaign {like.campaign}: {before}, {like.messages} by now")
    for item in found.outbox:
        print(
            printable(f"delivery to {item.recipient}: {item.state}, {item.attempts} attempts {item.last_error or ''}")
        )
    return 0


def _authentication(evidence: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What was found about who sent it, a line each, with the text that only we see."""
    found = []
    for row in evidence:
        if row.get("check") in METHODS:
            with suppress(KeyError, ValueError, TypeError):  # another version of filterd wrote it
                found.append(Evidence.from_dict(row))
    order = list(METHODS)
    lines = []
    for item in sorted(found, key=lambda item: order.index(item.check)):
        ((what, *words),) = results([item])
        lines.append((what, " ".join(words) + (f" ({item.log_text})" if item.log_text else "")))
    return lines


def as_json(found: ledger.Trace) -> dict[str, Any]:
    """The trace without the hashed features, which are no text."""
    value = asdict(found)
    if value["evidence"] is not None:
        del value["evidence"]["features"]
    return value
