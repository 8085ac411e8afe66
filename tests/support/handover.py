"""Owns a filterd with armed fault points, mail that takes every way through it, and the question what became of each message.

One message at a time is sent, by a client that tries again until it has a 250, so that it is known whom a fault hit.
Not part of the product.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

import pytest

from filterd.adapters.site_key import site_key
from filterd.config import load_config
from filterd.directory.values import Thresholds
from filterd.faults import VARIABLE
from filterd.ports import TerminalState
from filterd.storage import ledger, quarantine
from filterd.storage.audit import audit
from filterd.storage.browse import CopyState
from filterd.storage.database import Database, open_database
from tests.support.daemon import Daemon, children
from tests.support.directory import entry, put_snapshot
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

# forwarded; held (a client that a DNS list knows); both (upstream takes one recipient and refuses the other); split (two
# recipients whose copies have different marks, so that upstream gets them one after the other).
Kind = Literal["forwarded", "held", "both", "split"]
LISTED = "127.0.0.2"
STRICT = "strict@example.org"  # everything with an SCL is junk to it
REFUSED = "nobody@example.org"  # upstream's word on it is final, so that nobody delivers the held copy later
ZONE = {"bl.example": f"2.0.0.127 IN A {LISTED}"}  # 127.0.0.2 is also the zone's own test point (RFC 5782 section 5)
EXTRA = """
[clients]
greet_seconds = %g
[greylist]
enabled = false
[storage]
inline_bytes = %d
min_free_bytes = 0
[[dnsbl]]
zone = "bl.example"
weight = 5.0
"""
MOST = 500  # messages of one scene, each with a recipient of its own
PATIENCE = 60.0  # seconds a client goes on trying
_ACCEPTED = re.compile(r"250 \S+ .*\[(\w{16})\]$")


@dataclass
class Sent:
    """One message and its answers, one for each try; an empty one when the connection broke.

    `given_up`: its client waits for no answer.
    """

    kind: Kind
    recipient: str
    octets: bytes
    answers: list[str] = field(default_factory=list)
    given_up: bool = False

    @property
    def accepted(self) -> list[str]:
        """Our ids of the tries that were answered with 250."""
        return [found[1] for answer in self.answers if (found := _ACCEPTED.match(answer))]


class Took(Protocol):
    """A message that upstream has taken."""

    @property
    def recipients(self) -> tuple[tuple[str, str], ...]:
        """Forward-paths without brackets, with their parameters."""
        ...

    @property
    def octets(self) -> bytes:
        """As it arrived."""
        ...


class Taker(Protocol):
    """Any upstream."""

    port: int

    @property
    def received(self) -> Iterable[Took]:
        """What it has, oldest first."""
        ...


class ArmedDaemon(Daemon):
    """One worker, and settings of upstream that a test chooses.

    Attributes:
        settings: keys of [upstream] in place of those that every daemon of a test has, or beside them.
        listener: further lines of the listener's table.
    """

    settings: Mapping[str, float | bool] = MappingProxyType({})
    listener = ""

    def write_config(self) -> None:
        """As every daemon's, with `settings`."""
        super().write_config()
        text = self.config.read_text()
        for key, value in self.settings.items():
            line = f"{key} = {str(value).lower()}\n"
            text, found = re.subn(rf"(?m)^{key} = .*\n", line, text)
            text = text if found else text.replace("[upstream]\n", f"[upstream]\n{line}")
        text = text.replace("[[listeners]]\n", f"[[listeners]]\n{self.listener}")
        self.config.write_text(text)

    def kill(self) -> None:
        """SIGKILL to every process."""
        process, self.process = self.process, None
        assert process is not None
        for pid in (process.pid, *children(process.pid)):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        self.log.close()


@dataclass
class Scene:
    """filterd between a client and an upstream."""

    daemon: ArmedDaemon
    exchange: Taker
    sent: list[Sent] = field(default_factory=list)

    @cached_property
    def database(self) -> Database:
        """What filterd has written."""
        return open_database(load_config(self.daemon.config))

    def new(self, kind: Kind, octets: int = 3000) -> Sent:
        """A message of its own recipient, with a body that does not fit into a row."""
        number = len(self.sent)
        recipient = f"r{number}@example.org"
        head = f"From: a@example.com\r\nTo: {recipient}\r\nSubject: message {number}\r\nMessage-ID: <{number}@example.com>\r\n"
        # hexadecimal digits of noise: compressed, half of it is left
        lines = (hashlib.sha256(f"{number}.{line}".encode()).hexdigest() + "\r\n" for line in range(octets // 66))
        sent = Sent(kind, recipient, (head + "\r\n" + "".join(lines)).encode())
        self.sent.append(sent)
        return sent

    def send_until_accepted(self, sent: Sent) -> None:
        """Try again after every broken connection and every 4yz, as an MTA does; sooner."""
        deadline = time.monotonic() + PATIENCE
        while not sent.accepted:
            assert time.monotonic() < deadline, (sent.answers, self.daemon.log_text()[-3000:])
            if sent.answers:
                time.sleep(0.05)
            self.try_once(sent)
            assert not sent.answers[-1].startswith("5"), sent.answers

    def try_once(self, sent: Sent) -> str:
        """One connection, one message; the last reply, or nothing when the connection broke."""
        answer = ""
        source = LISTED if sent.kind == "held" else "127.0.0.1"
        second = {"both": [REFUSED], "split": [STRICT]}.get(sent.kind, [])
        recipients = [sent.recipient, *second]
        commands = ["EHLO localhost", "MAIL FROM:<a@example.com>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"]
        octets = [b"", *(f"{command}\r\n".encode() for command in commands), sent.octets + b".\r\n"]
        try:
            with (
                socket.create_connection(("127.0.0.1", self.daemon.smtp_port), PATIENCE, (source, 0)) as sock,
                sock.makefile("rb") as replies,
            ):
                for part in octets:
                    sock.sendall(part)
                    answer = _reply(replies.readline)
                    if answer[:1] not in ("2", "3"):
                        break
                else:
                    sock.sendall(b"QUIT\r\n")
        except OSError:
            answer = ""
        sent.answers.append(answer)
        return answer

    def fired(self) -> list[str]:
        """Points whose armed fault has happened so far, oldest first; of kills and errors alike."""
        lines = (json.loads(line) for line in self.daemon.log_text().splitlines() if '"armed fault"' in line)
        return [line["point"] for line in lines]

    def copies(self, sent: Sent) -> tuple[int, int]:
        """(copies at upstream, copies that are held) of the message."""
        at_upstream = [m for m in self.exchange.received if sent.recipient in {r for r, _ in m.recipients}]
        assert all(message.octets.endswith(sent.octets) for message in at_upstream), "altered on the way"
        subject = f"message {self.sent.index(sent)}"
        items = [i for i in quarantine.list_quarantine(self.database, subject=subject).items if i.subject == subject]
        for item in items:
            assert quarantine.body(self.database, item.id) == sent.octets
            # the outbox delivers what of a split message could not be handed over at once
            assert sent.kind == "split" or all(copy.state is CopyState.HELD for copy in item.copies)
        return len(at_upstream), len(items)

    def copies_of_second(self, sent: Sent) -> int:
        """How often upstream has the copy of a split message's second recipient."""
        mine = (m for m in self.exchange.received if m.octets.endswith(sent.octets))
        return sum(STRICT in {recipient for recipient, _ in message.recipients} for message in mine)

    def check_ledger(self) -> None:
        """After a stop: every try has one end for each recipient, and those that were answered the right one."""
        report = audit(self.database, time.time_ns() // 1_000_000 + 1, grace_seconds=0)
        assert report.clean, report.disagreements
        assert report.counts["open messages"] == 0
        for sent in (one for one in self.sent if not one.given_up):
            expected = [TerminalState.QUARANTINED if sent.kind == "held" else TerminalState.FORWARDED]
            expected += [TerminalState.QUARANTINED] if sent.kind == "both" else []
            assert len(sent.accepted) == 1
            trace = ledger.trace(self.database, sent.accepted[0])
            assert trace is not None
            states = [row.state for row in trace.message.outcomes]
            if sent.kind == "split":  # what the outbox had to deliver began as held
                assert states[1] in (TerminalState.FORWARDED, TerminalState.QUARANTINED)
                expected.append(states[1])
            assert states == expected


def _reply(readline: object) -> str:
    assert callable(readline)
    while True:
        line = readline().decode()
        if not line.endswith("\n"):
            raise ConnectionError("the server closed")
        if line[3:4] != "-":
            return str(line.strip())


@contextmanager
def armed(folder: Path, faults: str, inline_bytes: int = 1000, chunking: bool = True) -> Iterator[Scene]:
    """A running filterd with `faults` armed in all its processes, which makes a new connection for each message."""
    with running_exchange(folder / "maildir") as exchange:
        exchange.answers[f"rcpt {REFUSED}"] = "550 5.1.1 User unknown"
        settings = {"reuse": 1, "chunking": chunking}
        with before(exchange, folder, faults, settings, inline_bytes, mailboxes=_mailboxes()) as scene:
            yield scene


def _mailboxes() -> dict[str, Thresholds]:
    names = [REFUSED, *(f"r{number}@example.org" for number in range(MOST))]
    return {**dict.fromkeys(names, Thresholds()), STRICT: Thresholds(junk=0)}


@contextmanager
def before(
    exchange: Taker,
    folder: Path,
    faults: str,
    settings: Mapping[str, float | bool],
    inline_bytes: int = 1000,
    greet_seconds: float = 0.0,
    listener: str = "",
    tables: str = "",
    mailboxes: Mapping[str, Thresholds] | None = None,
) -> Iterator[Scene]:
    """A running filterd before any upstream.

    Args:
        settings: keys of [upstream].
        greet_seconds: how long clients that a DNS list knows wait for the banner.
        listener: further lines of its table.
        tables: further tables.
        mailboxes: a pushed directory of these; without one every recipient is known.
    """
    tables += "[push]\nenabled = true\n" if mailboxes else ""
    with running_nameserver(ZONE) as dns_port, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, faults)
        daemon = ArmedDaemon(
            folder / "filterd", exchange.port, dns_port, workers=1, extra=EXTRA % (greet_seconds, inline_bytes) + tables
        )
        daemon.listener = listener
        daemon.settings = settings
        if mailboxes:
            daemon.write_config()
            state = load_config(daemon.config).state_dir
            entries = (entry(name, site_key=site_key(state), thresholds=own) for name, own in mailboxes.items())
            put_snapshot(state / "directory" / "push.snapshot", entries)
        daemon.start()
        try:
            yield (scene := Scene(daemon, exchange))
        finally:
            daemon.stop()
        scene.database.close()
