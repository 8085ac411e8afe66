"""Owns what a recipient directory says, as values, and the interface of one.

Must not know any backend (file, LDAP, push, call-ahead), nor what an answer leads to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from filterd.deadline import Deadline


class RecipientStatus(StrEnum):
    """What the directory says about a mailbox."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    FOREIGN_DOMAIN = "foreign_domain"
    # Known, but takes mail from authenticated senders only (msExchRequireAuthToSendTo): not from the internet.
    INTERNAL_ONLY = "internal_only"


class DomainType(StrEnum):
    """Exchange's types of accepted domains (facts: exchange.md 3.5)."""

    AUTHORITATIVE = "authoritative"  # every recipient is in the directory
    INTERNAL_RELAY = "internal_relay"  # ours, but not every recipient is in the directory: nobody is unknown
    EXTERNAL_RELAY = "external_relay"  # passed on for somebody else: taken, and not ours


@dataclass(frozen=True, slots=True)
class AcceptedDomain:
    """One domain that mail is taken for.

    Attributes:
        name: ASCII, lower case, without a leading `*.`.
        subdomains: domains below it are accepted as well (MatchSubDomains).
    """

    name: str
    type: DomainType = DomainType.AUTHORITATIVE
    subdomains: bool = False


@dataclass(frozen=True, slots=True)
class Thresholds:
    """SCL thresholds of one mailbox, 0 to 9; None where the mailbox has none of its own.

    Junk is strictly above `junk`; the others are reached (`>=`).  Facts: exchange.md 1.6.
    """

    junk: int | None = None
    quarantine: int | None = None
    reject: int | None = None
    delete: int | None = None


class SenderWord(StrEnum):
    """What a mailbox says of a sender."""

    SAFE = "safe"
    BLOCKED = "blocked"


class SenderList(Protocol):
    """The safe and blocked senders of one mailbox."""

    def says(self, address: str) -> SenderWord | None:
        """What the mailbox says of `address` (user@domain, any case), by itself or by its domain; blocked goes before safe."""
        ...


@dataclass(frozen=True, slots=True)
class RecipientAnswer:
    """What the directory knows of one mailbox.

    Attributes:
        backend: who said it: file, hashed_file, ldap (with the name of the server's table), push, callahead, configuration.
        as_of_ms: Unix milliseconds at which what was answered from was read; None where that is now.
        senders: safe and blocked senders; None where the mailbox has none, or its directory does not know them.
    """

    status: RecipientStatus
    backend: str = ""
    as_of_ms: int | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    senders: SenderList | None = None


@dataclass(frozen=True, slots=True)
class ProtectedPerson:
    """Somebody whose display name others use to be obeyed, from a group of the directory.

    Attributes:
        addresses: all that the directory has for the person, lower case.
    """

    name: str
    addresses: tuple[str, ...] = ()


class Directory(Protocol):
    """Knows accepted domains and recipients."""

    async def look_up(self, local: str, domain: str, deadline: Deadline) -> RecipientAnswer:
        """What is known of a mailbox (compared without case; `domain` as Mailbox.domain_key gives it).

        Raises TemporaryError("directory") when it cannot be known now.
        """
        ...

    def sender_list(self, local: str, domain: str) -> SenderList | None:
        """The safe and blocked senders of a mailbox, from what is at hand: never waits, never raises."""
        ...

    def domains(self) -> tuple[AcceptedDomain, ...]:
        """The accepted domains as far as they are known now, those of the configuration first."""
        ...

    def people(self) -> tuple[ProtectedPerson, ...]:
        """Protected people as far as they are known now."""
        ...
