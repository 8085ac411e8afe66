"""`filterd exchange verify`: looks at Exchange's receive connector from outside, says what is wrong and what to do."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict

from filterd.adapters.exchange_probe import look_at
from filterd.auth.names import ascii_domain
from filterd.commands.options import add_config, add_json, print_json, printable
from filterd.config import Config, UpstreamConfig, load_config
from filterd.deadline import Deadline
from filterd.doctor.exchange import judge, questions
from filterd.doctor.finding import Finding, Level
from filterd.errors import ConfigError
from filterd.mail.address import parse_mailbox

_SECONDS = 300.0  # five questions of 20 s at worst, 25 connections, and a message


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
    findings: list[Finding] = []
    for hop in hops:
        for finding in asyncio.run(_look(config, hop, domain, options.probe)):
            findings.append(finding)
            if not options.json:
                _show(finding)
    failed = any(finding.level is Level.FAIL for finding in findings)
    if options.json:
        print_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    return 1 if failed else 0


async def _look(config: Config, hop: UpstreamConfig, domain: str, probe: str) -> list[Finding]:
    asked = await asyncio.to_thread(lambda: questions(config, domain, probe, many=True))
    return judge(config, hop, asked, await look_at(hop, asked, Deadline.after(_SECONDS)))


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
