"""Owns what filterd needs from outside, as small interfaces and their values.  Must not know any implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from filterd.content.attachments.finding import Finding
from filterd.content.mime import Part
from filterd.deadline import Deadline
from filterd.directory.values import Directory as Directory
from filterd.directory.values import RecipientAnswer as RecipientAnswer
from filterd.directory.values import RecipientStatus as RecipientStatus
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


# ---------------------------------------------------------------- correspondents


class Correspondents(Protocol):
    """Remembers whom our own people write to; shared by all nodes, addresses only as keyed hashes.  Times are Unix milliseconds."""

    async def knows(self, address: str, at_ms: int, deadline: Deadline) -> bool:
        """Whether somebody here wrote to `address` within outbound.correspondent_days.  Raises TemporaryError."""
        ...

    async def remember(self, addresses: Sequence[str], at_ms: int, deadline: Deadline) -> None:
        """Somebody here has written to these.  Raises TemporaryError."""
        ...


# ---------------------------------------------------------------- who may do how much


class Tallies(Protocol):
    """Counts what clients do, all workers of this machine together, in bounded memory; never waits and never fails.

    `kind` is a short name of ours (connections, messages …), `value` what is counted (a client network, a reverse-path).
    What is long past or no longer open is forgotten; under a flood of values some counts may start anew.
    """

    def enter(self, kind: str, value: str) -> int:
        """One more is open; how many are now.  The process's end closes what it left open."""
        ...

    def leave(self, kind: str, value: str) -> None:
        """One that was entered is over."""
        ...

    def add(self, kind: str, value: str, amount: int = 1, seconds: int = 60) -> int:
        """`amount` more have happened; how many in the last `seconds`, these too.  One kind has always the same seconds."""
        ...

    def count(self, kind: str, value: str, seconds: int = 60) -> int:
        """How many have happened in the last `seconds`."""
        ...


class Greylist(Protocol):
    """Remembers first attempts, clients that came again, and senders whose mail was taken; shared by all nodes.

    Times are Unix milliseconds.  Every method raises TemporaryError when the memory is not available in time.
    """

    async def attempt(self, network: str, mail_from: str, recipient: str, at_ms: int, deadline: Deadline) -> int:
        """When this triplet was first tried: `at_ms` if never, or not within greylist.retry_hours."""
        ...

    async def knows_client(self, network: str, at_ms: int, deadline: Deadline) -> bool:
        """Whether this client came again after a delay, within greylist.keep_days."""
        ...

    async def knows_sender(self, domain: str, at_ms: int, deadline: Deadline) -> bool:
        """Whether mail of this domain that passed SPF was taken, within greylist.keep_days."""
        ...

    async def remember_client(self, network: str, at_ms: int, deadline: Deadline) -> None:
        """This client came again after the delay."""
        ...

    async def remember_sender(self, domain: str, at_ms: int, deadline: Deadline) -> None:
        """Mail of this domain passed SPF and was taken.  Cheap when that is known already."""
        ...


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


# ---------------------------------------------------------------- custody


class TerminalState(StrEnum):
    """How the custody of one message for one recipient ended; exactly one of these, once."""

    FORWARDED = "forwarded"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """What the ledger knows of a message from its beginning.

    Attributes:
        id: our id.
        received_ms: Unix time in milliseconds.
        worker: the process that has it, as "slot:boot id".
        recipients: all asked-for mailboxes as text, refused ones too; "" alone when there was none.
        size: octets as received, 0 when there was no DATA.
    """

    id: str
    received_ms: int
    worker: str
    listener: str
    client_ip: str
    helo: str
    mail_from: str
    recipients: tuple[str, ...]
    size: int = 0
    header_from: str = ""
    subject: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of custody for one recipient.

    Attributes:
        recipient: mailbox as text (one of MessageRecord.recipients).
        state: terminal state.
        reply: what the client was told, as one line.
        detail: for the trace: upstream's answer or the decisive reason.
    """

    recipient: str
    state: TerminalState
    reply: str
    detail: str = ""


# HeldMessage.reason of copies that upstream refused while it took others of the same message.
UPSTREAM_REFUSED = "upstream_refused"
# … of copies for the world that the next mail server deferred while it took others; unlike those they expire: the author is told.
OUTBOUND_DEFERRED = "outbound_deferred"


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message to keep in the quarantine.

    Attributes:
        prepended: header fields of ours that go before the message when it is released.
        chunks: the message as it would have been forwarded, without `prepended`.
        recipients: mailbox -> forward-path parameters, for the recipients whose copy is held.
        reason: why, for people (spam, policy, upstream refused …).
        retry: recipients whose copy shall be delivered by the outbox as soon as upstream takes it.
        reasons: recipients whose copy is held for another reason than the rest.
        outbound: mail of our own Exchange: its copies go to the next mail server of [outbound], not to Exchange.
        fields: recipients whose copy has other fields of ours before it than `prepended`.
    """

    prepended: bytes
    chunks: Sequence[Octets]
    recipients: Mapping[str, tuple[str, ...]]
    reason: str
    scl: int
    score: float
    retry: frozenset[str] = frozenset()
    parameters: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    outbound: bool = False
    fields: Mapping[str, bytes] = field(default_factory=dict)


USER = "user"  # in an evidence record's `extra`: who was logged in; not there for nobody


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """The versioned record from which a verdict can be decided again.

    Attributes:
        verdicts: one JSON object per recipient (see engine.record).
        evidence: Evidence.as_dict of everything found.
        features: hashed content features as classifier/features.py stores them, for later training; empty when unknown.
    """

    action: str
    scl: int
    score: float
    probability: float
    verdicts: list[dict[str, Any]]
    evidence: list[dict[str, Any]]
    model: str = ""
    features: bytes = b""
    version: int = 1
    extra: dict[str, Any] = field(default_factory=dict)


class Custody(Protocol):
    """The ledger and the quarantine as the mail path sees them.  Group-committed; every method may be awaited by many."""

    async def begin(self, message: MessageRecord) -> None:
        """Write that we have the message, before the hand-over.  Survives the death of the process.

        Raises StorageFullError or StorageError; then nothing was written.
        """
        ...

    async def finish(
        self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord, held: HeldMessage | None
    ) -> None:
        """Write the terminal state of every recipient, the evidence and, if given, the quarantined message: all or nothing.

        `begin` need not have come before.  With `held`, returns only when everything is durable on disk (fsync).
        Raises StorageFullError or StorageError; then nothing was written.
        """
        ...


# ---------------------------------------------------------------- campaigns


@dataclass(frozen=True, slots=True)
class CampaignSighting:
    """One message that has its end, for the index of near-duplicates.

    Attributes:
        message_id: our id; counted once, however often it is added.
        at_ms: Unix milliseconds at which it came.
        state: FORWARDED, QUARANTINED or REJECTED.
        keys, sketch: of content.fingerprint.
    """

    message_id: str
    at_ms: int
    state: TerminalState
    keys: tuple[int, ...]
    sketch: bytes
    header_from: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """To which campaign a message belongs.

    Attributes:
        campaign: id of the campaign, which is that of its first message.
        like_hour: messages like it that had been counted before it for its clock hour and the one before.
        like_day: … for its clock hour and the 24 before.
        messages: of the campaign until now; 1 when nothing like it has come, 0 when the campaign itself is forgotten.
    """

    campaign: str
    like_hour: int
    like_day: int
    messages: int


class Campaigns(Protocol):
    """The index of near-duplicates, shared by all nodes.  Blocks: not for the mail path itself."""

    def add(self, sightings: Sequence[CampaignSighting]) -> None:
        """Count these messages, each in the campaign that it is most like, or in a new one.

        All or nothing.  Raises TemporaryError; then nothing was written.
        """
        ...

    def of_message(self, message_id: str) -> Membership | None:
        """To which campaign a message belongs; None when it was not counted, or is forgotten.  Raises TemporaryError."""
        ...
