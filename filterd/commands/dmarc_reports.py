"""`filterd dmarc-reports`: what was counted for DMARC aggregate reports, which reports wait, and what one would say."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

from filterd.aggregate.document import xml
from filterd.aggregate.published import published
from filterd.aggregate.sender import heading_of
from filterd.auth.names import ascii_domain
from filterd.commands.options import add_config, add_json, print_json, table, time_text
from filterd.config import DmarcReportsConfig, load_config
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.storage import aggregate, aggregate_queue
from filterd.storage.aggregate_queue import ENDS
from filterd.storage.database import Database, open_database

_EPOCH = date(1970, 1, 1)
_LIMIT = 1000


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("dmarc-reports", help="what is counted for DMARC reports, and which of them wait")
    add_config(command)
    add_json(command)
    command.add_argument(
        "--show",
        nargs=2,
        metavar=("DOMAIN", "DAY"),
        help="print the XML about a policy domain; DAY as 2026-05-31 (UTC)",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the lists, or one report; exit status 1 when nothing was counted for that domain and day."""
    config = load_config(options.config)
    database = open_database(config)
    if options.show:
        return _show(database, config.dmarc_reports, *options.show)
    domains = aggregate.domains(database, limit=_LIMIT, newest_first=True)
    reports = aggregate_queue.reports(database, _LIMIT)
    if options.json:
        counted = [asdict(item) | {"day": day_text(item.day)} for item in domains]
        queue = [asdict(item) | {"day": day_text(item.day)} for item in reports]
        print_json({"enabled": config.dmarc_reports.enabled, "counted": counted, "reports": queue})
        return 0
    if not config.dmarc_reports.enabled:
        print("DMARC reports are off (dmarc_reports.enabled).")
    if domains:
        rows = [
            (
                *(day_text(item.day), item.policy_domain, str(item.rows), str(item.dropped)),
                ", ".join(str(mailbox) for mailbox in published(item.record).destinations),
            )
            for item in domains
        ]
        print(table(rows, ("day", "policy domain", "rows", "dropped", "wanted at")))
    if reports:
        if domains:
            print()
        lines = [
            (
                *(day_text(item.day), item.policy_domain, item.destination, item.state.value, str(item.attempts)),
                item.last_error or item.last_reply if item.state in ENDS else _waits(item.next_ms, item.last_error),
            )
            for item in reports
        ]
        print(table(lines, ("day", "policy domain", "destination", "state", "attempts", "last answer")))
    if _LIMIT in (len(domains), len(reports)):
        print(f"\nOnly the newest {_LIMIT} are shown.")
    if not domains and not reports:
        print("Nothing is counted.")
    return 0


def day_text(day: int) -> str:
    """A day as 2026-05-31."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def _waits(next_ms: int, last_error: str) -> str:
    return f"due {time_text(next_ms)} {last_error}".rstrip()


def _show(database: Database, config: DmarcReportsConfig, name: str, day: str) -> int:
    try:
        number = (datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).date() - _EPOCH).days
    except ValueError:
        print(f"filterd: expected a day such as 2026-05-31, found {day!r}", file=sys.stderr)
        return 2
    domain = aggregate.domain(database, number, ascii_domain(name) or name)
    if domain is None:
        print(f"filterd: nothing was counted for {name} on {day}; see filterd dmarc-reports", file=sys.stderr)
        return 1
    sender = parse_mailbox(config.email) or Mailbox("not-set", "example.org")
    rows = aggregate.rows(database, domain.day, domain.policy_domain, config.rows_per_report)
    for piece in xml(heading_of(config, sender, domain), rows):
        sys.stdout.write(piece)
    return 0
