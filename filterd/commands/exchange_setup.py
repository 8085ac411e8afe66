"""`filterd exchange setup`: prints the PowerShell that makes Exchange take mail from filterd, and the one that undoes it."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

from filterd.commands.options import add_config
from filterd.config import Config, ListenerConfig, load_config
from filterd.errors import ConfigError
from filterd.exchange.powershell import UnsafeValueError
from filterd.exchange.script import setup_script, undo_script
from filterd.exchange.setup import Setup, SetupError

Ask = Callable[[str, str], str]


def register(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    command = group.add_parser(
        "setup",
        help="print the PowerShell for Exchange: receive connector, SCL, reports, outbound; and its undo",
        description="What is not given is taken from the configuration, or asked for in a terminal.",
    )
    add_config(command, required=False)
    command.add_argument("--server", action="append", metavar="NAME", help="Exchange server; once for each")
    command.add_argument(
        "--filter-address", action="append", metavar="IP", help="our address as Exchange sees it; once for each of us"
    )
    command.add_argument("--fqdn", metavar="NAME", help="name that the connector greets with, as in its certificate")
    command.add_argument("--thumbprint", metavar="HEX", help="certificate for STARTTLS (Get-ExchangeCertificate)")
    command.add_argument("--scl-mode", choices=("rule", "organization"), help="default: exchange.scl_mode")
    command.add_argument("--port", type=int, default=25, help="port of the connector (default 25)")
    command.add_argument("--report-domain", metavar="DOMAIN", help="default: reports.domain; '' for none")
    command.add_argument(
        "--tnef", choices=("off", "keep"), default="off", help="winmail.dat towards the report domain (default off)"
    )
    command.add_argument(
        "--outbound",
        action=argparse.BooleanOptionalAction,
        help="send connector for mail to the internet through filterd (default: if outbound.host is set)",
    )
    command.add_argument("--undo", action="store_true", help="print only the script that takes it all away")
    command.add_argument("--output", type=Path, metavar="DIR", help="write setup.ps1 and undo.ps1 there")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print or write the scripts."""
    config = load_config(options.config) if options.config else Config()
    ask = _ask if sys.stdin.isatty() else _default
    setup = _setup(options, config, ask)
    try:
        scripts = {"setup.ps1": setup_script(setup), "undo.ps1": undo_script(setup)}
    except UnsafeValueError as error:
        raise ConfigError([f"--server: {error}"]) from None
    if options.output is not None:
        _write(options.output, scripts)
    elif options.undo:
        print(scripts["undo.ps1"], end="")
    else:
        bar = "# " + "-" * 100
        title = "# To undo all of it, run what follows instead (filterd exchange setup --undo prints only that):"
        undo = "".join(f"# {line}".rstrip() + "\n" for line in scripts["undo.ps1"].splitlines())
        print(f"{scripts['setup.ps1']}\n{bar}\n{title}\n{undo}", end="")
    return 0


def _setup(options: argparse.Namespace, config: Config, ask: Ask) -> Setup:
    """Raises ConfigError that names the option."""
    servers = options.server or _words(ask("Names of the Exchange servers that take our mail", _server_of(config)))
    addresses = options.filter_address or _words(ask("Our addresses, as Exchange sees us", _address_of(config)))
    fqdn, thumbprint = options.fqdn, options.thumbprint
    if fqdn is None:
        fqdn = "" if options.undo else ask("Name that the connector greets with (empty: Exchange's own)", "")
    if thumbprint is None:
        thumbprint = (
            "" if options.undo else ask("Thumbprint of the certificate for STARTTLS (empty: Exchange chooses)", "")
        )
    domain = options.report_domain if options.report_domain is not None else config.reports.domain or ""
    limits = [config.limits_of(listener) for listener in config.listeners]
    if not 0 < options.port < 65536:
        raise ConfigError([f"--port: expected 1 to 65535, found {options.port}"])
    try:
        return Setup(
            servers=tuple(servers),
            addresses=tuple(addresses),
            hostname=config.server.hostname,
            fqdn=fqdn,
            thumbprint=thumbprint.replace(" ", ""),
            scl_mode=options.scl_mode or config.exchange.scl_mode,
            message_bytes=max(limit.message_bytes for limit in limits),
            recipients=max(limit.recipients for limit in limits),
            port=options.port,
            report_domain=domain.lower(),
            report_port=_port(config.listeners, "report", "internal"),
            tnef=options.tnef == "keep",
            outbound=options.outbound if options.outbound is not None else bool(config.outbound.host),
            outbound_port=_port(config.listeners, "outbound"),
        )
    except SetupError as error:
        what, _, expected = str(error).partition(": ")
        raise ConfigError([f"--{what.replace(' ', '-')}: {expected}"]) from None


def _port(listeners: Sequence[ListenerConfig], *trust: str) -> int:
    """Port of the first listener of the first class that there is; 25 without one."""
    for wanted in trust:
        for listener in listeners:
            if listener.trust == wanted:
                return listener.port
    return 25


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _server_of(config: Config) -> str:
    """The server's own name, where upstream.host is a name."""
    host = config.upstream.host
    try:
        ip_address(host)
    except ValueError:
        return host.partition(".")[0].upper()
    return ""


def _address_of(config: Config) -> str:
    """The address that this machine would use towards upstream; empty when that is only itself.  Sends nothing."""
    try:
        family, _, _, _, target = socket.getaddrinfo(
            config.upstream.host, config.upstream.port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(target)
            own = str(sock.getsockname()[0])
        return "" if ip_address(own.partition("%")[0]).is_loopback else own
    except (OSError, UnicodeError):  # UnicodeError: a name that no host can have
        return ""


def _ask(question: str, default: str) -> str:
    """On standard error: what is printed on standard output is the script."""
    print(f"{question}{f' [{default}]' if default else ''}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline(2000).strip() or default


def _default(question: str, default: str) -> str:
    return default


def _write(folder: Path, scripts: dict[str, str]) -> None:
    """With a byte order mark and CRLF: Windows PowerShell 5.1 takes a file without the first for one in the local code page."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, script in scripts.items():
            (folder / name).write_bytes(script.replace("\n", "\r\n").encode("utf-8-sig"))
            print(folder / name)
    except OSError as error:
        raise ConfigError(
            [f"--output: {folder}: {error.strerror or error}; name a folder that you may write to"]
        ) from None
