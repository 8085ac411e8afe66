"""Owns an engine that takes mail of our own Exchange for the world, with scripted servers around it.  Not part of the product."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from filterd.auth.seal import Signer
from filterd.checks.base import Check
from filterd.checks.lists import Lists, NetworkTable
from filterd.checks.recipient import RecipientCheck
from filterd.config import PolicyConfig
from filterd.engine.handoff import HandOff
from filterd.engine.outbound import CorrespondentNotes, Outbound, OutboundHandOff, by_domain
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy
from filterd.engine.shared import Engine
from filterd.engine.transaction import Session
from filterd.errors import StorageError
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.mail.dsn import Undelivered
from filterd.mail.envelope import Connection, Recipient, TrustClass
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from tests.support.doubles import MemoryCorrespondents, ScriptedCustody, ScriptedDirectory, ScriptedUpstream
from tests.support.stagehand import Weighs

NOW = 1_700_000_000  # in the past: dkimpy refuses signatures from the future
MAIL = (
    b"From: Anna <anna@example.org>\r\nTo: carl@example.com\r\nSubject: hello\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nbody\r\n"
)
EXCHANGE = Connection(ip_address("192.0.2.25"), listener="outbound", trust=TrustClass.OUTBOUND)


@dataclass
class Told:
    """Keeps what authors are told; raises `error` when set."""

    error: StorageError | None = None
    notices: list[Undelivered] = field(default_factory=list)

    async def __call__(self, about: Undelivered) -> None:
        if self.error:
            raise self.error
        self.notices.append(about)


@dataclass
class OutboundStage:
    """One engine with its doubles: `exchange` is upstream of inbound mail, `world` the next mail server."""

    signers: Sequence[Signer] = ()
    unsignable: frozenset[str] = frozenset()
    observe: bool = False
    checks: Sequence[Check] = ()
    weight: float = -2.0
    client: Connection = EXCHANGE
    sender: str = "anna@example.org"
    parameters: tuple[str, ...] = ()
    exchange: ScriptedUpstream = field(default_factory=ScriptedUpstream)
    world: ScriptedUpstream = field(default_factory=ScriptedUpstream)
    custody: ScriptedCustody = field(default_factory=ScriptedCustody)
    told: Told = field(default_factory=Told)
    known: MemoryCorrespondents = field(default_factory=MemoryCorrespondents)

    def engine(self) -> Engine:
        directory = ScriptedDirectory(frozenset({"nobody"}))
        recipients = RecipientCheck(directory, "reports.example.org")
        handoff = OutboundHandOff(self.world, self.custody, self.told, lambda: {"example.org"})
        return Engine(
            Pipeline([Lists(NetworkTable([])), recipients, *self.checks, Weighs(self.weight)]),
            Policy(PolicyConfig(observe=self.observe)),
            HandOff(self.exchange, self.custody),
            "filter.example.org",
            "filter.example.org",
            "smtp-0:1",
            clock=lambda: float(NOW),
            outbound=Outbound(handoff, by_domain(self.signers), self.unsignable),
            correspondents=CorrespondentNotes(self.known, lambda: {"example.org"}, lambda: float(NOW)),
        )

    def talk(self, *recipients: str, message: bytes = MAIL) -> list[Reply]:
        """MAIL, one RCPT for each address (perhaps with parameters behind it), then the message."""

        async def scene() -> list[Reply]:
            engine = self.engine()
            session = await Session.connected(engine, self.client)
            await session.helo("exchange.example.org", True)
            sender = parse_mailbox(self.sender) if self.sender else None
            replies = [await session.mail(sender, self.parameters)]
            for text in recipients:
                address, *parameters = text.split()
                local, _, domain = address.partition("@")
                replies.append(await session.rcpt(Recipient(Mailbox(local, domain), tuple(parameters))))
            if any(reply.is_success for reply in replies[1:]):
                replies.append(await session.data(Message(message)))
            await session.close("quit")
            assert engine.correspondents is not None
            await engine.correspondents.flush()
            return replies

        return asyncio.run(scene())
