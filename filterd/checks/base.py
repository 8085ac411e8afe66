"""Owns the interface of a check and what a check may see.  Must not know any check, nor what a finding costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from filterd.deadline import Deadline
from filterd.lookups import Lookups
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Evidence, Reason, Stage
from filterd.mail.message import Message
from filterd.ports import Resolver


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What is known when a check runs.

    Attributes:
        envelope: None before MAIL.
        recipient: the forward-path that is asked about; only at Stage.RCPT.
        message: only at Stage.DATA.
        evidence: what was found before, in order; at the same stage only by checks named in `after`.
        doubtful: what was found so far weighs greylist.score or more; set at Stage.RCPT.
        deadline: the stage's deadline; what passes it comes back as a time-out.
        lookups: notes what is asked of DNS for this connection or transaction.
    """

    connection: Connection
    deadline: Deadline
    evidence: tuple[Evidence, ...] = ()
    envelope: Envelope | None = None
    recipient: Recipient | None = None
    message: Message | None = None
    doubtful: bool = False
    lookups: Lookups = field(default_factory=Lookups)

    def noted(self, resolver: Resolver, share: float = 1.0) -> Resolver:
        """`resolver` for this message: what it answers is recorded, and how much it may be asked is bounded.

        `share`: of the message's questions; for a check whose questions the sender's own zone can multiply.
        """
        return self.lookups.of(resolver, share)

    @property
    def over_its_rate(self) -> bool:
        """Whether the client is told to come again anyway: what costs DNS or CPU can wait until then."""
        return any(item.reason is Reason.RATE_EXCEEDED for item in self.found("rate"))

    def found(self, check: str) -> list[Evidence]:
        """What that check found before."""
        return [item for item in self.evidence if item.check == check]


class Check(Protocol):
    """Finds, does not decide.

    Attributes:
        name: as in the FAILURE table and in Authentication-Results where the method has a name there.
        stage: the SMTP command at which it runs.
        after: checks of the same stage whose evidence it reads; they run before it.
    """

    @property
    def name(self) -> str: ...

    @property
    def stage(self) -> Stage: ...

    @property
    def after(self) -> tuple[str, ...]: ...

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        """The findings, none when there is nothing to say.  May raise TemporaryError; the guard turns it into evidence."""
        ...
