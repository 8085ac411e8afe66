"""Owns an engine with scripted parts around it, and short scenes on it, for tests of sessions.  Not part of the product."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from filterd.auth.seal import Signer
from filterd.checks.base import Check, CheckContext
from filterd.checks.lists import Lists, NetworkTable
from filterd.checks.recipient import Probes, RecipientCheck
from filterd.config import ClientsConfig, ExchangeConfig, PolicyConfig
from filterd.engine.handoff import HandOff
from filterd.engine.pipeline import Pipeline
from filterd.engine.policy import Policy
from filterd.engine.shared import Engine
from filterd.engine.standing import SenderNotes
from filterd.engine.transaction import Session
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from tests.support.doubles import MemoryGreylist, ScriptedCustody, ScriptedDirectory, ScriptedUpstream

MAIL = b"From: a@sender.example\r\nSubject: hello\r\n\r\nbody\r\n"


@dataclass
class Weighs:
    """A content check with a fixed answer."""

    weight: float
    name: str = "content"
    stage: Stage = Stage.DATA
    after: tuple[str, ...] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        reason = Reason.LOOKS_LIKE_SPAM if self.weight > 0 else Reason.LOOKS_LIKE_HAM
        return (Evidence("content", Stage.DATA, Result.FAIL, reason, measured=self.weight),)


@dataclass
class Stagehand:
    """One engine with its doubles, and a session on it."""

    weight: float = -2.0
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    exchange: ExchangeConfig = field(default_factory=ExchangeConfig)
    directory: ScriptedDirectory = field(default_factory=lambda: ScriptedDirectory(frozenset({"nobody"})))
    upstream: ScriptedUpstream = field(default_factory=ScriptedUpstream)
    custody: ScriptedCustody = field(default_factory=ScriptedCustody)
    blocked: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    room: bool = True
    client: Connection = field(default_factory=lambda: Connection(ip_address("192.0.2.7")))
    clients: ClientsConfig = field(default_factory=ClientsConfig)
    more: tuple[Check, ...] = ()
    greylist: MemoryGreylist | None = None
    signer: Signer | None = None
    reports: str = ""
    probes: Probes | None = None
    sender: Mailbox | None = field(default_factory=lambda: Mailbox("a", "sender.example"))

    async def session(self, helo: str = "client.example") -> Session:
        table = NetworkTable(
            [*((n, "block", "test") for n in self.blocked), *((n, "allow", "test") for n in self.allowed)]
        )
        checks: list[Check] = [
            Lists(table),
            *self.more,
            RecipientCheck(self.directory, self.reports, "filter.example.org", self.probes),
            Weighs(self.weight),
        ]
        engine = Engine(
            Pipeline(checks),
            Policy(self.policy, exchange=self.exchange),
            HandOff(self.upstream, self.custody),
            "filter.example.org",
            "filter.example.org",
            "smtp-0:1",
            postmasters={"filter.example.org": "example.org", "reports.example.org": "example.org"},
            clock=lambda: 1_800_000_000.0,
            has_room=lambda: self.room,
            clients=self.clients,
            signer=self.signer,
            senders=SenderNotes(self.greylist, lambda: 1_800_000_000.0) if self.greylist else None,
        )
        session = await Session.connected(engine, self.client)
        await session.helo(helo, True)
        return session

    def talk(
        self, *names: str, message: bytes | None = MAIL, refusal: Reply | None = None, helo: str = "client.example"
    ) -> list[Reply]:
        """MAIL, one RCPT per name at example.org (or the address itself), then the message."""

        async def scene() -> list[Reply]:
            session = await self.session(helo)
            replies = [await session.mail(self.sender, ())]
            for name in names:
                local, _, domain = name.partition("@")
                replies.append(await session.rcpt(Recipient(Mailbox(local, domain or "example.org"))))
            if message is not None and any(r.is_success for r in replies[1:]):
                replies.append(await session.data(Message(message), refusal))
            await session.close("quit")
            return replies

        return asyncio.run(scene())


@dataclass
class Finds:
    """A check with a fixed finding that weighs `weight`; notes the contexts that it sees."""

    name: str
    stage: Stage
    weight: float = 0.0
    result: Result = Result.FAIL
    reason: Reason = Reason.NO_PTR
    properties: dict[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    seen: list[CheckContext] = field(default_factory=list)

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        self.seen.append(ctx)
        return (
            Evidence(
                self.name,
                self.stage,
                self.result,
                self.reason,
                Scope.CONNECTION,
                measured=self.weight,
                properties=self.properties,
            ),
        )
