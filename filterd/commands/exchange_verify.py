"""`filterd exchange verify`: looks at Exchange's receive connector from outside, says what is wrong and what to do.

A probe is followed until Exchange's receipt says that it has arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import asdict, replace

from filterd.adapters.exchange_probe import look_at
from filterd.auth.names import ascii_domain
from filterd.commands.options import add_config, add_json, print_json, printable
from filterd.config import Config, UpstreamConfig, load_config
from filterd.deadline import Deadline
from filterd.doctor.exchange import judge, name_of, questions
from filterd.doctor.finding import Finding, Level
from filterd.doctor.receipt import judge_receipt, not_waited
from filterd.errors import ConfigError
from filterd.mail.address import parse_mailbox
from filterd.probing import NoReceiptError, ReceiptBox, open_box

_SECONDS = 300.0  # five questions of 20 s at worst, 25 connections, and a message
_WAIT_SECONDS = 60.0  # a delivery and its receipt take a few
_MOST_WAIT_SECONDS = 3000.0  # the address for the receipt lives an hour, and asking may take its five minutes


def register(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    command = group.add_parser("verify", help="look at the receive connector from outside: limits, TLS, tarpit, relay")
    add_config(command)
    add_json(command)
    command.add_argument(
        "--server",
        action="append",
        metavar="HOST[:PORT]",
        help="server to look at instead of upstream.host, several times for several (IPv6 in brackets)",
    )
    command.add_argument(
        "--domain", default="", help="an accepted domain of Exchange's (default: the first configured)"
    )
    command.add_argument("--probe", default="", metavar="ADDRESS", help="send one message to this mailbox of yours")
    command.add_argument(
        "--wait",
        type=float,
        default=_WAIT_SECONDS,
        metavar="SECONDS",
        help="how long to wait for Exchange's receipt for the probe, 0: ask for none (default 60)",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the findings server by server; exit status 1 when one of them is a FAIL."""
    config = load_config(options.config)
    hops = [_hop(config.upstream, text) for text in options.server or []] or [config.upstream]
    domain = ascii_domain(options.domain) if options.domain else ""
    if domain is None:
        raise ConfigError([f"--domain: expected a domain such as example.org, found {options.domain!r}"])
    if options.probe and (parse_mailbox(options.probe) is None or not options.probe.isascii()):
        raise ConfigError([f"--probe: expected the address of a mailbox, found {options.probe!r}"])
    if not 0 <= options.wait <= _MOST_WAIT_SECONDS:  # which nan is not
        raise ConfigError([f"--wait: expected 0 to {_MOST_WAIT_SECONDS:g} seconds, found {options.wait:g}"])
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not options.json:
            _show(finding)

    for hop in hops:
        asyncio.run(_look(config, hop, domain, options.probe, options.wait, tell))
    failed = any(finding.level is Level.FAIL for finding in findings)
    if options.json:
        print_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    return 1 if failed else 0


async def _look(
    config: Config, hop: UpstreamConfig, domain: str, probe: str, seconds: float, tell: Callable[[Finding], None]
) -> None:
    asked = await asyncio.to_thread(lambda: questions(config, domain, probe, many=True))
    box = await asyncio.to_thread(_box, config) if probe and seconds else None
    try:
        if isinstance(box, ReceiptBox):
            asked = replace(asked, receipt_to=box.address)
        seen = await look_at(hop, asked, Deadline.after(_SECONDS))
        for finding in judge(config, hop, asked, seen):
            tell(finding)
        what = name_of(hop)
        if isinstance(box, ReceiptBox):
            came = None
            if seen.receipt_asked and seen.probe is not None and seen.probe.is_success:
                print(f"filterd: waiting up to {seconds:g} s for the receipt …", file=sys.stderr, flush=True)
                came = await box.wait(seen.sent_ms, seconds)
            more = judge_receipt(what, seen, asked, came, seconds)
        else:
            more = not_waited(what, seen, str(box), box.remedy) if box is not None else []
        for finding in more:
            tell(finding)
    finally:
        if isinstance(box, ReceiptBox):
            box.close()


def _box(config: Config) -> ReceiptBox | NoReceiptError:
    try:
        return open_box(config)
    except NoReceiptError as error:
        return error


def _show(finding: Finding) -> None:
    print(f"{finding.level:<5} {printable(finding.what)}: {printable(finding.text)}", flush=True)
    if finding.remedy:
        print(f"      {printable(finding.remedy)}", flush=True)


def _hop(config: UpstreamConfig, text: str) -> UpstreamConfig:
    """Upstream's settings for another server.  Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = text, "25"
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
        raise ConfigError([f"--server: expected a name or address, perhaps with :port, found {text!r}"])
    return config.model_copy(update={"host": host, "port": int(port)})
