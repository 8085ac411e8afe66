"""`filterd audit`: reconcile ledger, quarantine rows, bodies and files; exit status 0 all agree, 1 something does not."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict

from filterd.commands.options import add_config, add_json, print_json, table
from filterd.config import load_config
from filterd.storage.audit import audit
from filterd.storage.database import open_database


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("audit", help="prove that ledger, quarantine and files agree")
    add_config(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Audit and print every disagreement."""
    database = open_database(load_config(options.config))
    report = audit(database, int(time.time() * 1000))
    if options.json:
        print_json(asdict(report) | {"clean": not report.disagreements})
    else:
        print("  ".join(f"{name} {count}" for name, count in report.counts.items()))
        if report.disagreements:
            print(table([(d.kind, d.id, d.text) for d in report.disagreements], ("kind", "id", "what disagrees")))
        else:
            print("Ledger, quarantine, bodies and files agree.")
    return 1 if report.disagreements else 0
