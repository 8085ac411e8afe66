"""Owns what is different for mail of our own Exchange for the world: its hand-over, its signatures, and whom our people write to.

Nothing of it is quarantined by us: what the next server refuses for good ends as rejected, and its author is told.  Only what
a rule in Exchange passes on for a stranger is held then, as inbound mail is: a report to him would be backscatter.  RFC 6376 5
(who signs), RFC 5321 6.1 (a refusal after a 250 must be told).  Must not know SMTP, SQL, nor how a notice is delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from filterd import metrics
from filterd.auth.author import author_domains
from filterd.auth.names import ascii_domain, is_same_or_below
from filterd.auth.seal import Signer, sign_message
from filterd.deadline import Deadline
from filterd.directory.domains import address_form
from filterd.engine.handoff import HandOff, count
from filterd.engine.job import Job
from filterd.engine.notes import REMEMBER_SECONDS, Notes
from filterd.errors import StorageError, TemporaryError
from filterd.mail.dsn import MAX_QUOTED, Refused, Undelivered, wants_notice
from filterd.mail.envelope import Connection, Envelope, Recipient, TrustClass
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.ports import (
    OUTBOUND_DEFERRED,
    UPSTREAM_REFUSED,
    Correspondents,
    Custody,
    HeldMessage,
    Outcome,
    TerminalState,
    Upstream,
)
from filterd.reportmail.reporter import is_automatic

log = logging.getLogger(__name__)

MAX_RECIPIENTS = 50  # of a message whose recipients are people that somebody wrote to; more is a newsletter
MAX_WAITING = 64  # messages whose recipients wait to be written down; beyond it one more contact is forgotten, no mail
_WRITERS = frozenset({TrustClass.OUTBOUND, TrustClass.AUTHENTICATED, TrustClass.INTERNAL})
_NO_PERSON_FIELDS = (
    "list-unsubscribe",
    "x-ms-exchange-inbox-rules-loop",
)  # of newsletters (RFC 2369), of rules in a mailbox

Tell = Callable[[Undelivered], Awaitable[None]]  # the author of a message, durably


class OutboundHandOff(HandOff):
    """Carries out decisions about mail for the world.

    As long as nobody has taken the message, the next server's refusal is our answer and Exchange tells its user.  Once somebody
    has, the rest is ours: what comes later goes through the outbox, and what was refused for good is told to the author.
    """

    def __init__(self, upstream: Upstream, custody: Custody, tell: Tell, ours: Callable[[], Iterable[str]]) -> None:
        """`tell` raises StorageError.  `ours`: our own domains as `ascii_domain` gives them, asked anew each time."""
        super().__init__(upstream, custody)
        self._tell = tell
        self._ours = ours

    async def _conclude(
        self,
        job: Job,
        accepted: Sequence[Recipient],
        held: Sequence[Recipient],
        replies: dict[str, Reply],
        retry: set[str],
    ) -> Reply:
        names = [str(r.mailbox) for r in held]
        refused = [r for r, name in zip(held, names, strict=True) if name in replies and name not in retry]
        if not refused or self._is_strangers(job.envelope):
            return await super()._conclude(job, accepted, held, replies, retry)
        told = await self._told(job, refused, replies)
        if isinstance(told, StorageError):
            return await self._nobody_told(job, accepted, told)
        lost = [
            Outcome(name, TerminalState.REJECTED, "", f"upstream: {replies[name]}; {told}")
            for name in (str(r.mailbox) for r in refused)
        ]
        count(lost)
        kept = [r for r in held if r not in refused]
        return await super()._conclude(replace(job, refused=(*job.refused, *lost)), accepted, kept, replies, retry)

    async def _told(self, job: Job, refused: Sequence[Recipient], replies: Mapping[str, Reply]) -> str | StorageError:
        """Whether the author is told, in words; an error when that could not be written down."""
        metrics.OUTBOUND_REFUSED_COPIES.inc(len(refused))
        log.warning(
            "the next mail server refused some recipients, the author is told",
            extra={
                "id": job.envelope.id,
                "mail_from": job.envelope.mail_from,
                "recipients": [str(r.mailbox) for r in refused],
                "replies": [str(replies[str(r.mailbox)]) for r in refused],
            },
        )
        wanted = tuple(Refused(r, replies[str(r.mailbox)]) for r in refused if wants_notice(r))
        sender = job.envelope.reverse_path
        if sender is None or not wanted:  # a bounce is told to nobody (RFC 5321 6.1)
            return "nobody wants to be told"
        header = bytes(job.chunks[0][:MAX_QUOTED])  # the first chunk begins with the header section
        try:
            await self._tell(Undelivered(job.envelope.id, sender, job.envelope.parameters, wanted, header))
        except StorageError as error:
            return error
        return "the author is told"

    async def _nobody_told(self, job: Job, accepted: Sequence[Recipient], error: StorageError) -> Reply:
        """The message stays with Exchange, which sends it again: some get it twice, which is better than nobody knowing."""
        reply = self._storage_failed(error, job.envelope.id, "notice")
        taken = {str(r.mailbox) for r in accepted}
        outcomes = [
            Outcome(name, TerminalState.FORWARDED, str(reply), "taken; sent again, for others were refused")
            if (name := str(r.mailbox)) in taken
            else Outcome(name, TerminalState.DEFERRED, str(reply), "the author could not be told")
            for r in (*job.forward, *job.hold)
        ]
        await self.record(job.message, [*job.refused, *outcomes], job.evidence)
        count(outcomes)
        return reply

    def _held(
        self, job: Job, held: Sequence[Recipient], replies: dict[str, Reply], retry: set[str]
    ) -> HeldMessage | None:
        box = super()._held(job, held, replies, retry)
        if box is None:
            return None
        tells = box.reason == UPSTREAM_REFUSED and not self._is_strangers(job.envelope)
        reason = OUTBOUND_DEFERRED if tells else box.reason  # the other one never expires: nobody is told
        return replace(box, outbound=True, reason=reason)

    def _is_strangers(self, envelope: Envelope) -> bool:
        """Whether a rule passes it on with the reverse-path of somebody else, whom Exchange takes no report for."""
        sender = envelope.reverse_path
        return sender is not None and not is_ours(sender.domain, self._ours())


@dataclass(frozen=True, slots=True)
class Outbound:
    """What Ending needs for mail of our own Exchange.

    Attributes:
        signers: author domain -> who signs for it.
        unsignable: domains that should be signed for, and none of their keys can be used now.
    """

    handoff: OutboundHandOff
    signers: Mapping[str, tuple[Signer, ...]] = field(default_factory=dict)
    unsignable: frozenset[str] = frozenset()

    def signers_of(self, message: Message) -> tuple[Signer, ...]:
        """Who signs: the keys of the author domain, else of the nearest domain above it; nobody without exactly one author domain."""
        return self.signers.get(self._signed_domain(message), ())

    def lacks_key(self, message: Message) -> bool:
        """Whether it should be signed and cannot be now.  Unlike a fault in signing, which would meet it again, this is mended by a person."""
        return self._signed_domain(message) in self.unsignable

    def _signed_domain(self, message: Message) -> str:
        """The domain whose keys sign it; empty where no key is meant for it."""
        authors = author_domains(message)
        if len(message.all("from")) != 1 or len(authors) != 1:
            return ""
        labels = authors[0].split(".")
        above = (".".join(labels[at:]) for at in range(len(labels)))
        return next((name for name in above if name in self.signers or name in self.unsignable), "")

    async def signatures(self, message: Message, now: int) -> bytes:
        """DKIM-Signature fields to stand above the message; `now` in Unix seconds.  A fault costs the signature, not the message."""
        try:
            signers = self.signers_of(message)
            signed = await sign_message(message, signers, now)
        except Exception:  # counted like a check that crashed
            log.exception("cannot sign")
            metrics.CHECK_FAILURES.labels("sign", "crashed").inc()
            return b""
        unsigned = "key_unusable" if self.lacks_key(message) else "no_key"
        metrics.OUTBOUND_SIGNED.labels("signed" if signers else unsigned).inc()
        return signed


def by_domain(signers: Iterable[Signer]) -> dict[str, tuple[Signer, ...]]:
    """Signers by their domain, in their order."""
    found: dict[str, tuple[Signer, ...]] = {}
    for signer in signers:
        found[signer.domain] = (*found.get(signer.domain, ()), signer)
    return found


class CorrespondentNotes(Notes):
    """Notes whom our own people write to."""

    def __init__(self, memory: Correspondents, ours: Callable[[], Iterable[str]], clock: Callable[[], float]) -> None:
        """`ours`: our own domains as `ascii_domain` gives them, asked anew each time.  `clock`: Unix seconds."""
        super().__init__()
        self._memory = memory
        self._ours = ours
        self._clock = clock

    def note(self, connection: Connection, envelope: Envelope, message: Message, reply: Reply) -> None:
        """A message has its end.  Counts when a person of ours wrote to a few people elsewhere, and it was taken.

        Answers that programs write make nobody known (RFC 3834 5): spam that provokes one would whitelist itself.
        """
        sender, recipients = envelope.reverse_path, envelope.recipients
        if connection.trust not in _WRITERS or not reply.is_success or sender is None:
            return
        if len(recipients) > MAX_RECIPIENTS or not _by_a_person(message) or not is_ours(sender.domain, self._ours()):
            return
        elsewhere = (r.mailbox for r in recipients if not is_ours(r.mailbox.domain, self._ours()))
        names = [address_form(mailbox.local, mailbox.domain_key) for mailbox in elsewhere]
        if not names:
            return
        if self.under_way >= MAX_WAITING:
            metrics.CORRESPONDENTS.labels("dropped").inc()
            return
        self.begin(self._remember(names))

    async def _remember(self, names: Sequence[str]) -> None:
        try:
            await self._memory.remember(names, int(self._clock() * 1000), Deadline.after(REMEMBER_SECONDS))
            metrics.CORRESPONDENTS.labels("noted").inc()
        except TemporaryError as error:
            metrics.CORRESPONDENTS.labels("failed").inc()
            log.warning("cannot note whom somebody wrote to", extra={"kind": error.kind, "error": str(error)})


def is_ours(domain: str, names: Iterable[str]) -> bool:
    """Whether `domain` is one of `names`, which are as `ascii_domain` gives them, or below one."""
    name = ascii_domain(domain)
    return name is not None and any(is_same_or_below(name, own) for own in names)


def _by_a_person(message: Message) -> bool:
    """Whether nothing says that a program, a rule or a list sends it.  A receipt for spam is a report (RFC 8098)."""
    if is_automatic(message) or any(message.all(name) for name in _NO_PERSON_FIELDS):
        return False
    return not message.first("content-type").strip().lower().startswith("multipart/report")
