"""What is asked of DNS over SMTP stands in the record of the message, and is bounded: for each message anew."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from filterd.checks.base import CheckContext
from filterd.engine.transaction import Session
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Recipient
from filterd.mail.evidence import Evidence, Stage
from filterd.mail.message import Message
from tests.support.dns import MapResolver
from tests.support.stagehand import MAIL, Stagehand


@dataclass
class Asks:
    """Asks some questions at its stage, the answers to which nobody needs."""

    stage: Stage
    name: str
    questions: int = 1
    after: tuple[str, ...] = ()

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        for number in range(self.questions):
            await ctx.noted(MapResolver()).query(f"{self.name}{number}.example", "A", ctx.deadline)
        return ()


@dataclass
class Asking(Stagehand):
    """A stage whose checks ask DNS."""

    async def message(self, session: Session) -> list[str]:
        """What the evidence record of one more message says was asked."""
        before = set(self.custody.evidence)
        await session.mail(Mailbox("a", "sender.example"), ())
        await session.rcpt(Recipient(Mailbox("anna", "example.org")))
        assert (await session.data(Message(MAIL))).code == 250
        (new,) = set(self.custody.evidence) - before
        return [entry["name"] for entry in self.custody.evidence[new].extra.get("dns", ())]


EACH = (Asks(Stage.CONNECT, "dnsbl"), Asks(Stage.HELO, "helo"), Asks(Stage.MAIL, "spf"), Asks(Stage.DATA, "dkim"))


def test_a_record_has_what_was_asked_for_the_client_and_for_the_message() -> None:
    async def scene() -> None:
        stage = Asking(more=EACH)
        session = await stage.session()
        for _ in range(2):  # the second message of the connection rests on the same client
            assert await stage.message(session) == ["dnsbl0.example", "helo0.example", "spf0.example", "dkim0.example"]

    asyncio.run(scene())


def test_what_was_asked_for_the_address_of_a_user_who_logged_in_is_not_in_the_record() -> None:
    async def scene() -> None:
        stage = Asking(more=EACH)
        session = await stage.session()
        await session.authenticated("anna")
        assert await stage.message(session) == ["spf0.example", "dkim0.example"]

    asyncio.run(scene())


def test_each_message_has_the_whole_budget() -> None:
    async def scene() -> None:
        stage = Asking(more=(Asks(Stage.CONNECT, "dnsbl", 2), Asks(Stage.MAIL, "spf"), Asks(Stage.DATA, "dkim", 2)))
        session = await stage.session()
        session.engine.lookups_per_message = 2
        for _ in range(2):
            assert await stage.message(session) == ["dnsbl0.example", "dnsbl1.example", "spf0.example", "dkim0.example"]
            assert stage.custody.evidence[session.reference].verdicts[0]["unavailable"] == ["dkim"]

    asyncio.run(scene())
