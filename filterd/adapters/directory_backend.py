"""Owns the interface of one source of recipients (file, snapshot, call-ahead …) behind the chain in directory.py.

Must not know the other sources, the order in which they are asked, nor which domains are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol

from filterd.deadline import Deadline
from filterd.directory.values import AcceptedDomain, ProtectedPerson, RecipientAnswer


class Silence(Enum):
    """What a backend says that has nothing to say about a mailbox: it does not count as "unknown"."""

    ABSTAIN = "abstain"


ABSTAIN: Final = Silence.ABSTAIN
Found = RecipientAnswer | None | Literal[Silence.ABSTAIN]


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What people are told of a backend.

    Attributes:
        name: as in RecipientAnswer.backend.
        recipients: how many addresses it has; None where it does not hold them, or has none yet.
        domains: how many accepted domains it knows; None where it does not say.
        read_ms: Unix milliseconds at which what it answers from was true; None where that is now, or it has nothing yet.
        full_ms: … at which everything was read anew.
        warn_hours: age from which people are warned; None: never.
        notes: what else people should know, one sentence each.
        problem: why it cannot answer, or answers from something old; empty when all is well.
        usable: whether it can answer.
    """

    name: str
    recipients: int | None = None
    domains: int | None = None
    read_ms: int | None = None
    full_ms: int | None = None
    warn_hours: int | None = None
    notes: tuple[str, ...] = ()
    problem: str = ""
    usable: bool = True


class DirectoryBackend(Protocol):
    """One source.  Derive from it: what a source does not have it need not define."""

    name: str

    async def find(self, local: str, domain: str, deadline: Deadline) -> Found:
        """What is known of a mailbox of an accepted domain: an answer (known or internal-only), None when it has no such
        mailbox, ABSTAIN when it has nothing to say about this domain.

        `local` in any case, `domain` as Mailbox.domain_key gives it.  Raises TemporaryError("…", "directory") when it cannot
        be known now.
        """
        ...

    def at_hand(self, local: str, domain: str) -> RecipientAnswer | None:
        """What it has in memory of a mailbox, thresholds and senders above all; None for nothing.  Never waits, never raises."""
        return None

    def domains(self) -> tuple[AcceptedDomain, ...] | None:
        """Accepted domains that it knows; None while it should know some and could never be read."""
        return ()

    def people(self) -> tuple[ProtectedPerson, ...]:
        """Protected people."""
        return ()

    async def refresh(self) -> None:
        """Take over what changed outside, at most every two seconds; never raises."""

    def status(self) -> BackendStatus:
        """What people are told of it."""
        return BackendStatus(self.name)

    async def close(self) -> None:
        """Let go of connections; answers under way may fail with TemporaryError."""
