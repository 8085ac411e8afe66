"""Owns a tour of filterd: starts the sandbox's world, sends every sample, shows where it ended and why.

Must not know how filterd decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import smtplib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import world
from sandbox.daemon import Daemon, DaemonError, port_is_free
from sandbox.dns import SandboxDns
from sandbox.exchange import StandInExchange
from sandbox.samples import Sample, make_samples
from sandbox.signing import DkimKey

_REFERENCE = re.compile(r"\b([0-9A-HJKMNP-TV-Z]{16})\b")  # our id in a reply: 16 characters of Crockford's base 32
_SEND_SECONDS = 60.0
_CLUES = 3  # the heaviest findings are enough for a line


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for.

    Attributes:
        state_dir: folder for everything the sandbox writes.
        once: end after the table.
    """

    state_dir: Path = Path("sandbox-state")
    smtp_port: int = 2525
    api_port: int = 8025
    once: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a sample.

    Attributes:
        reply: what the client was told in the end.
        place: upstream, altered (it is there, but not as it was sent), quarantine, refused, deferred or nowhere.
        why: the row that decided and the heaviest findings.
    """

    sample: Sample
    reply: str
    place: str
    why: str

    @property
    def as_expected(self) -> bool:
        """Whether it ended where it should."""
        return self.place in self.sample.expected


async def tour(options: Options) -> int:
    """Run the sandbox; the exit status: 0, or 1 when a sample did not end as expected or something did not start."""
    for port, flag in ((options.smtp_port, "--smtp-port"), (options.api_port, "--api-port")):
        if not port_is_free("127.0.0.1", port):
            print(f"Port {port} is in use. Choose another one: make run ARGS='{flag} {port + 1}'")
            return 1
    key = DkimKey("example.org")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with StandInExchange(options.state_dir / "exchange") as exchange, SandboxDns(world.make_zones(key)) as dns:
        exchange.front_end.accepted_domains = frozenset({world.OUR_DOMAIN})  # as an Exchange does; doctor looks at it
        # For `filterd exchange verify --probe`: the receipt comes back as from the world.
        exchange.front_end.receipt = "delivered"
        exchange.front_end.way_out = ("127.0.0.1", options.smtp_port)
        daemon = Daemon(options.state_dir, options.smtp_port, options.api_port, exchange.port, dns.port)
        try:
            print("Starting a stand-in for Exchange, a DNS server and filterd ...", flush=True)
            daemon.start()
            if not await _unless(stop, daemon.ready()):
                return 1
            token = await asyncio.to_thread(daemon.make_token)
            endings = await _unless(stop, _send_all(daemon, token, exchange, make_samples(key)))
            if not endings:
                return 1
            print("\n" + "\n".join(table(endings)))
            if not options.once:
                print("\n" + "\n".join(_addresses(daemon, token, exchange)), flush=True)
                await stop.wait()
                print("\nStopping ...", flush=True)
            return 0 if all(ending.as_expected for ending in endings) or not options.once else 1
        except DaemonError as error:
            print(error)
            return 1
        finally:
            await daemon.stop()


async def _unless(stop: asyncio.Event, work: Any) -> Any:
    """The result of `work`, True when it has none; False when `stop` comes first (the work is then given up)."""
    task, waiter = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    result = await task
    return True if result is None else result


async def _send_all(daemon: Daemon, token: str, exchange: StandInExchange, samples: Sequence[Sample]) -> list[Ending]:
    endings = []
    for sample in samples:
        reply = await asyncio.to_thread(send, sample, daemon.host, daemon.smtp_port)
        trace: Any = None
        if found := _REFERENCE.search(reply):
            trace = await asyncio.to_thread(daemon.trace, found[1], token)
        arrived = next((mail.octets for mail in exchange.received if sample.message_id.encode() in mail.octets), None)
        endings.append(Ending(sample, reply, place(sample, reply, arrived, trace), why(trace)))
    return endings


def send(sample: Sample, host: str, port: int) -> str:
    """Send one sample from its own address; the last reply as one line."""
    try:
        source = (sample.client, 0)
        with smtplib.SMTP(host, port, sample.helo, _SEND_SECONDS, source) as smtp:
            for code, text in _dialog(smtp, sample):
                reply = f"{code} {text.decode('ascii', 'replace')}".replace("\n", " ")
                if code >= 400:
                    break
            return reply
    except (OSError, smtplib.SMTPException) as error:
        return f"no reply: {error}"


def _dialog(smtp: smtplib.SMTP, sample: Sample) -> Iterator[tuple[int, bytes]]:
    yield smtp.ehlo()
    yield smtp.mail(sample.mail_from)
    yield smtp.rcpt(sample.recipient)
    try:
        yield smtp.data(sample.message)
    except smtplib.SMTPDataError as error:  # refused before the message
        text = error.smtp_error
        yield error.smtp_code, text if isinstance(text, bytes) else text.encode()


def place(sample: Sample, reply: str, arrived: bytes | None, trace: Any) -> str:
    """Where the message is, by what can be seen from outside first; `arrived`: what upstream has of it."""
    if arrived is not None:
        return "upstream" if arrived.endswith(sample.message) else "altered"  # filterd may only prepend
    if reply[:1] == "5":
        return "refused"
    if reply[:1] == "4":
        return "deferred"
    states = {item.get("state") for item in _outcomes(trace)}
    return "quarantine" if reply[:1] == "2" and states == {"quarantined"} else "nowhere"


def _outcomes(trace: Any) -> list[dict[str, Any]]:
    message = trace.get("message", trace) if isinstance(trace, dict) else {}
    return list(message.get("outcomes") or []) if isinstance(message, dict) else []


def why(trace: Any) -> str:
    """The deciding row and the heaviest findings of a trace, in one line."""
    record = (trace.get("evidence") or {}) if isinstance(trace, dict) else {}
    verdicts = record.get("verdicts") or []
    if not verdicts:
        return next((item["detail"] for item in _outcomes(trace) if item.get("detail")), "")
    verdict = verdicts[0]
    parts = [f"{_named(item)} {item['log_odds']:+.1f}" for item in verdict["contributions"][:_CLUES]]
    return f"{verdict['row']}: score {verdict['score']:+.1f}" + (f" ({', '.join(parts)})" if parts else "")


def _named(item: dict[str, Any]) -> str:
    check, text = str(item["check"]), str(item["text"])
    return text if ":" in check or check in text.lower() else f"{check} {text}"


def table(endings: Sequence[Ending]) -> list[str]:
    """The endings as aligned lines; a `!` marks what was not expected."""
    rows = [("SAMPLE", "FROM", "CLIENT WAS TOLD", "ENDED", "WHY")]
    rows += [
        (ending.sample.name, ending.sample.client, _short(ending.reply, 62), ending.place, _short(ending.why, 110))
        for ending in endings
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for index, row in enumerate(rows):
        mark = "! " if index and not endings[index - 1].as_expected else "  "
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append((mark + "  ".join([*cells, row[4]])).rstrip())
    return lines


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _addresses(daemon: Daemon, token: str, exchange: StandInExchange) -> list[str]:
    return [
        f"Front door (SMTP)   {daemon.host}:{daemon.smtp_port}, recipients: {', '.join(world.RECIPIENTS)}",
        f"API and its page    http://{daemon.host}:{daemon.api_port}/docs (any name, the token as password)",
        f"Token for a day     {token}",
        f"Another token       .venv/bin/filterd token create --config {daemon.config} --name me --scope admin",
        f"Forwarded mail      {exchange.maildir.resolve()}/new",
        f"Log                 {daemon.log}",
        "Ctrl-C ends it.",
    ]


def run(options: Options) -> int:
    """`tour` from the command line."""
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(tour(options))
    return 130
