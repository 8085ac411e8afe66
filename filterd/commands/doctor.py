"""`filterd doctor`: looks at everything that mail needs, says what is wrong and what to do.  Needs no running daemon."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from filterd.adapters.signing_key import outbound_keys
from filterd.app import active_model
from filterd.commands.configuration import look_through
from filterd.commands.options import add_config, add_json, print_json, printable, quiet_log
from filterd.config import SEED_MODEL, Config, load_config
from filterd.doctor import (
    answers,
    callahead,
    certificates,
    directories,
    exchange,
    house,
    hybrid,
    malware,
    names,
    neighbours,
    outbound,
    pushed,
    safelists,
    senders,
)
from filterd.doctor.finding import Examination, Finding, Level, blocking, examine, fail, ok, warn
from filterd.errors import ConfigError, StorageError
from filterd.storage.database import database_as_it_is

_DISK_SECONDS = 10.0
_DNS_SECONDS = 10.0
_EXCHANGE_SECONDS = 30.0  # three refusals, each held back by Exchange's tarpit of 5 s, and what comes before
_CORRECT = "correct it; docs/configuration.md has every key"
_MARGIN_SECONDS = 2.0  # beyond what a part allows itself, so that its own text is heard


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("doctor", help="look at everything that mail needs; say what is wrong and what to do")
    add_config(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the findings as they come; exit status 1 when one of them is a FAIL."""
    with quiet_log():  # what is wrong stands in the findings
        findings = asyncio.run(_collect(options.config, quiet=options.json))
    failed = any(finding.level is Level.FAIL for finding in findings)
    if options.json:
        print_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    return 1 if failed else 0


async def _collect(path: Path, *, quiet: bool) -> list[Finding]:
    findings = []
    async for finding in all_findings(path):
        findings.append(finding)
        if not quiet:
            print(f"{finding.level:<5} {printable(finding.what)}: {printable(finding.text)}", flush=True)
            if finding.remedy:
                print(f"      {printable(finding.remedy)}", flush=True)
    return findings


async def all_findings(path: Path) -> AsyncIterator[Finding]:
    """Of the configuration first; when it cannot be read, of nothing else."""
    try:
        config = load_config(path)
    except ConfigError as error:
        for problem in error.problems:
            yield fail("configuration", problem, _CORRECT)
        return
    looked = look_through(config)
    told = (
        outbound_keys(config).problems if config.outbound.host else ()
    )  # with what it means, by an examination of their own
    problems = [problem for problem in looked.problems if problem not in told]
    for problem in problems:
        yield fail("configuration", problem, _CORRECT)
    if not problems:
        yield ok("configuration", ", ".join([str(path), *looked.facts]))
    for what, remedy in looked.warnings:
        yield warn("configuration", what, remedy)
    async for finding in examine(examinations(config)):
        yield finding


def examinations(config: Config) -> list[Examination]:
    """What is looked at, in this order."""
    connect = config.upstream.connect_seconds
    return [
        Examination("state_dir", _DISK_SECONDS, blocking(lambda: house.state_dir(config))),
        Examination("database", _DISK_SECONDS, blocking(lambda: house.database(config))),
        Examination("model", _DISK_SECONDS, blocking(lambda: house.model(config, _model_path(config)))),
        Examination("reach", _DISK_SECONDS, blocking(lambda: house.reach(config))),
        Examination("listeners", _DISK_SECONDS, blocking(lambda: certificates.listeners(config))),
        Examination("dns", _DNS_SECONDS, lambda deadline: names.servers(config, deadline)),
        Examination("dnsbl", _DNS_SECONDS, lambda deadline: names.zones(config, deadline)),
        Examination("senders", _DNS_SECONDS, lambda deadline: senders.senders(config, deadline)),
        Examination("upstream", connect + _MARGIN_SECONDS, blocking(lambda: neighbours.upstream(config))),
        Examination("outbound", connect + _DNS_SECONDS, lambda deadline: outbound.look(config, deadline)),
        Examination("exchange", _EXCHANGE_SECONDS, lambda deadline: exchange.connector(config, deadline)),
        Examination(
            "directory",
            config.auth.timeout_seconds + _MARGIN_SECONDS,
            lambda deadline: neighbours.directory(config, deadline),
        ),
        Examination(
            "ldap", directories.seconds(config) + _MARGIN_SECONDS, blocking(lambda: directories.directories(config))
        ),
        Examination("push", _DISK_SECONDS, blocking(lambda: pushed.pushed(config))),
        Examination(
            "call-ahead",
            callahead.MAX_DOMAINS * config.callahead.timeout_seconds + _MARGIN_SECONDS,
            lambda deadline: callahead.callahead(config, deadline),
        ),
        Examination(
            "malware",
            2 * config.malware.scan_seconds + _MARGIN_SECONDS,
            lambda deadline: malware.malware(config, deadline),
        ),
        Examination("safelists", _DISK_SECONDS, blocking(lambda: safelists.safelists(config))),
        Examination("hybrid", _DISK_SECONDS, blocking(lambda: hybrid.hybrid(config))),
        Examination("workers", _DISK_SECONDS, blocking(lambda: house.workers(config))),
        Examination("answers", _DISK_SECONDS, blocking(lambda: answers.heard(config))),
    ]


def _model_path(config: Config) -> Path:
    try:
        database = database_as_it_is(config)
    except (ConfigError, StorageError):
        database = None
    try:
        return active_model(config, database)
    except StorageError:  # no table yet, or no server: the database has a finding of its own
        return SEED_MODEL
    finally:
        if database is not None:
            database.close()
