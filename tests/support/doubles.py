"""Owns scripted doubles of ports: an upstream, a ledger, a directory and accounts that say what they are told to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from filterd.content.fingerprint import ALIKE, similarity
from filterd.deadline import Deadline
from filterd.directory.values import AcceptedDomain, ProtectedPerson, SenderList
from filterd.errors import StorageError, TemporaryError
from filterd.mail.envelope import Envelope, Recipient
from filterd.mail.message import Octets
from filterd.mail.reply import Reply
from filterd.ports import (
    CampaignSighting,
    Delivery,
    EvidenceRecord,
    HeldMessage,
    Membership,
    MessageRecord,
    Outcome,
    RecipientAnswer,
    RecipientStatus,
    TerminalState,
)

QUEUED = Reply(250, "2.6.0", "Queued mail for delivery")


@dataclass
class ScriptedUpstream:
    """Answers `data` to everybody, but `rcpt[mailbox]` to the named; raises `error` when set."""

    data: Reply = QUEUED
    rcpt: dict[str, Reply] = field(default_factory=dict)
    error: TemporaryError | None = None
    crash: Exception | None = None
    taken: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)

    async def deliver(
        self, envelope: Envelope, recipients: Sequence[Recipient], chunks: Sequence[Octets], deadline: Deadline
    ) -> Delivery:
        if self.crash:
            raise self.crash
        if self.error:
            raise self.error
        names = [str(r.mailbox) for r in recipients]
        accepted = tuple(name for name in names if name not in self.rcpt)
        if accepted and self.data.is_success:
            self.taken.append((accepted, b"".join(bytes(chunk) for chunk in chunks)))
        replies = tuple(self.rcpt.get(name, self.data) for name in names)
        return Delivery(replies, self.data if accepted else None)


@dataclass
class ScriptedCustody:
    """Keeps everything in lists; raises `fail[step]` when set."""

    fail: dict[str, StorageError] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    ended: dict[str, list[Outcome]] = field(default_factory=dict)
    held: dict[str, HeldMessage] = field(default_factory=dict)
    evidence: dict[str, EvidenceRecord] = field(default_factory=dict)

    async def begin(self, message: MessageRecord) -> None:
        if error := self.fail.get("begin"):
            raise error
        self.begun.append(message.id)

    async def finish(
        self, message: MessageRecord, outcomes: Sequence[Outcome], evidence: EvidenceRecord, held: HeldMessage | None
    ) -> None:
        if error := self.fail.get("finish"):
            raise error
        assert message.id not in self.ended, "a second terminal state"
        assert {o.recipient for o in outcomes} == set(message.recipients), "a recipient without an end"
        assert len(outcomes) == len({o.recipient for o in outcomes})
        self.ended[message.id] = list(outcomes)
        self.evidence[message.id] = evidence
        if held is not None:
            self.held[message.id] = held

    def states(self) -> dict[str, TerminalState]:
        """Recipient -> terminal state, over all messages."""
        return {o.recipient: o.state for outcomes in self.ended.values() for o in outcomes}


@dataclass
class ScriptedDirectory:
    """Knows example.org and everybody there but `unknown`; raises when `down`."""

    unknown: frozenset[str] = frozenset()
    down: bool = False

    answers: dict[str, RecipientAnswer] = field(default_factory=dict)  # local-part -> what is said of it

    async def look_up(self, local: str, domain: str, deadline: Deadline) -> RecipientAnswer:
        if self.down:
            raise TemporaryError("directory is down", "directory")
        if domain != "example.org":
            return RecipientAnswer(RecipientStatus.FOREIGN_DOMAIN)
        if local in self.answers:
            return self.answers[local]
        return RecipientAnswer(RecipientStatus.UNKNOWN if local in self.unknown else RecipientStatus.KNOWN)

    def sender_list(self, local: str, domain: str) -> SenderList | None:
        return self.answers[local].senders if local in self.answers else None

    def domains(self) -> tuple[AcceptedDomain, ...]:
        return (AcceptedDomain("example.org"),)

    def people(self) -> tuple[ProtectedPerson, ...]:
        return ()


@dataclass
class MemoryAccounts:
    """Knows `accounts` (user in lower case -> password); raises when `down`; remembers who asked."""

    accounts: dict[str, str] = field(default_factory=dict)
    down: TemporaryError | None = None
    asked: list[str] = field(default_factory=list)

    async def check(self, user: str, password: str, deadline: Deadline) -> bool:
        if deadline.expired:
            raise TemporaryError("no time left", "timeout")
        if self.down:
            raise self.down
        self.asked.append(user)
        return bool(password) and self.accounts.get(user.lower()) == password


@dataclass
class MemoryGreylist:
    """Remembers in dictionaries, to the millisecond; raises `error` when set.  Times are Unix milliseconds."""

    retry_ms: int = 48 * 3_600_000
    keep_ms: int = 35 * 86_400_000
    error: TemporaryError | None = None
    tries: dict[tuple[str, str, str], int] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)
    senders: dict[str, int] = field(default_factory=dict)

    async def attempt(self, network: str, mail_from: str, recipient: str, at_ms: int, deadline: Deadline) -> int:
        self._fail()
        key = (network.lower(), mail_from.lower(), recipient.lower())
        first = self.tries.get(key, at_ms)
        self.tries[key] = at_ms if at_ms - first > self.retry_ms else min(first, at_ms)
        return self.tries[key]

    async def knows_client(self, network: str, at_ms: int, deadline: Deadline) -> bool:
        self._fail()
        return network.lower() in self.clients and at_ms - self.clients[network.lower()] <= self.keep_ms

    async def knows_sender(self, domain: str, at_ms: int, deadline: Deadline) -> bool:
        self._fail()
        return domain.lower() in self.senders and at_ms - self.senders[domain.lower()] <= self.keep_ms

    async def remember_client(self, network: str, at_ms: int, deadline: Deadline) -> None:
        self._fail()
        self.clients[network.lower()] = at_ms

    async def remember_sender(self, domain: str, at_ms: int, deadline: Deadline) -> None:
        self._fail()
        self.senders[domain.lower()] = at_ms

    def _fail(self) -> None:
        if self.error:
            raise self.error


@dataclass
class MemoryCampaigns:
    """Keeps everything in dictionaries; raises `error` when set."""

    error: Exception | None = None
    keys: dict[int, str] = field(default_factory=dict)
    sketches: dict[str, bytes] = field(default_factory=dict)
    members: dict[str, Membership] = field(default_factory=dict)
    sightings: list[CampaignSighting] = field(default_factory=list)
    times: dict[str, list[int]] = field(default_factory=dict)

    def add(self, sightings: Sequence[CampaignSighting]) -> None:
        if self.error:
            raise self.error
        for seen in sightings:
            if seen.message_id not in self.members:
                self.sightings.append(seen)
                self._add(seen)

    def of_message(self, message_id: str) -> Membership | None:
        found = self.members.get(message_id)
        return replace(found, messages=len(self.times[found.campaign])) if found else None

    def _add(self, seen: CampaignSighting) -> None:
        near = {self.keys[key] for key in seen.keys if key in self.keys}
        ranked = sorted((-similarity(seen.sketch, self.sketches[campaign]), campaign) for campaign in near)
        campaign = ranked[0][1] if ranked and -ranked[0][0] >= ALIKE else seen.message_id
        self.sketches.setdefault(campaign, seen.sketch)
        if campaign == seen.message_id:
            self.keys = dict.fromkeys(seen.keys, campaign) | self.keys
        hour, before = seen.at_ms // 3_600_000, self.times.setdefault(campaign, [])
        ages = [hour - at_ms // 3_600_000 for at_ms in before]
        like_hour, like_day = (sum(0 <= age <= hours for age in ages) for hours in (1, 24))
        self.members[seen.message_id] = Membership(campaign, like_hour, like_day, 0)
        before.append(seen.at_ms)


@dataclass
class MemoryCorrespondents:
    """Remembers in a dictionary; raises `error` when set.  Times are Unix milliseconds."""

    keep_ms: int = 180 * 86_400_000
    error: TemporaryError | None = None
    seen: dict[str, int] = field(default_factory=dict)

    async def knows(self, address: str, at_ms: int, deadline: Deadline) -> bool:
        if self.error:
            raise self.error
        return address.lower() in self.seen and at_ms - self.seen[address.lower()] <= self.keep_ms

    async def remember(self, addresses: Sequence[str], at_ms: int, deadline: Deadline) -> None:
        if self.error:
            raise self.error
        for address in addresses:
            self.seen[address.lower()] = max(at_ms, self.seen.get(address.lower(), at_ms))
