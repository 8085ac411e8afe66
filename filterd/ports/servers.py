"""Owns the interfaces of what is asked about a message: DNS, accounts, scanners, the next hop.  Must not know any implementation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from filterd.content.attachments.finding import Finding
from filterd.content.mime import Part
from filterd.deadline import Deadline
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import Message, Octets, WholeOctets
from filterd.mail.reply import Reply

# ---------------------------------------------------------------- DNS


class DnsStatus(StrEnum):
    """How a question was answered; failures to answer are TemporaryError (kind: timeout, servfail, refused)."""

    NOERROR = "noerror"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """The answer to one question.

    Attributes:
        records: A, AAAA: address; PTR, CNAME: name without final dot; MX: "preference name"; TXT: the strings of one
            record joined, one character per octet (latin-1).
        ttl: seconds this answer may be kept.
        authentic: the resolver said that DNSSEC holds (AD bit).
    """

    status: DnsStatus
    records: tuple[str, ...] = ()
    ttl: int = 0
    authentic: bool = False


class Resolver(Protocol):
    """Asks DNS."""

    async def query(self, name: str, rdtype: str, deadline: Deadline) -> DnsAnswer:
        """The answer, CNAMEs followed.  Raises TemporaryError(kind) when there is no usable answer in time."""
        ...


# ---------------------------------------------------------------- accounts


class Authenticator(Protocol):
    """Knows accounts."""

    async def check(self, user: str, password: str, deadline: Deadline) -> bool:
        """Whether they belong together.  Raises TemporaryError when it cannot be known now."""
        ...


# ---------------------------------------------------------------- malware


class MalwareStatus(StrEnum):
    """What a scanner says about a message."""

    CLEAN = "clean"
    FOUND = "found"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class MalwareAnswer:
    """The answer about one message.

    Attributes:
        name: of what was found, short and printable; empty when nothing was.
    """

    status: MalwareStatus
    name: str = ""


class MalwareScanner(Protocol):
    """Looks for malware in whole messages."""

    async def scan(self, octets: WholeOctets, deadline: Deadline) -> MalwareAnswer:
        """The answer.  Raises TemporaryError (kind: unreachable, busy, timeout, broken) when there is none in time."""
        ...


# ---------------------------------------------------------------- attachments


class Inspector(Protocol):
    """Looks inside attachments, away from the mail path: no octets can crash it, hang it or fill its memory."""

    async def inspect(
        self, message: Message, parts: Sequence[Part], passwords: Sequence[str], deadline: Deadline
    ) -> list[tuple[int, Finding]]:
        """(index in `parts`, finding) of everything that was found; `passwords`: what the text gives for archives.

        An attachment that could not be looked at has a finding of Kind.UNREADABLE or UNFINISHED that says why.  Raises TemporaryError when
        nobody could look at all (kind: busy, timeout, broken).
        """
        ...


# ---------------------------------------------------------------- upstream


@dataclass(frozen=True, slots=True)
class Delivery:
    """What upstream said about one hand-over.

    Attributes:
        replies: one reply per recipient of the envelope, in order: the RCPT reply if that refused, else the
            end-of-data reply.  Texts are upstream's own, made printable.
        data_reply: the end-of-data reply, None when no recipient was accepted.
    """

    replies: tuple[Reply, ...]
    data_reply: Reply | None


class Upstream(Protocol):
    """Hands a message to the next hop."""

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        """Send the concatenation of `chunks` (CRLF lines, not dot-stuffed).

        Raises TemporaryError(kind="unreachable") when upstream cannot be reached or vanishes before the final dot was
        sent, and TemporaryError(kind="in_doubt") when it vanishes after: then it may or may not have the message.
        """
        ...
