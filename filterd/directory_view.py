"""Owns what people are told of the recipient directory: what it says of one address and what a stranger hears, and its sources.

For the command line and the side service.  Must not know how it is shown.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filterd.adapters.directory import ChainDirectory, build_directory, snapshots
from filterd.adapters.directory_backend import BackendStatus
from filterd.checks.base import CheckContext
from filterd.checks.recipient import RecipientCheck
from filterd.config import Config
from filterd.directory.domains import postmasters
from filterd.directory.values import RecipientAnswer, RecipientStatus, SenderList, SenderWord, Thresholds
from filterd.engine.pipeline import Pipeline, stage_deadline
from filterd.engine.policy import Policy, decide
from filterd.errors import FilterdError, TemporaryError
from filterd.mail.address import Mailbox, parse_mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient, parse_ip
from filterd.mail.evidence import Stage
from filterd.mail.reply import Reply

UNAVAILABLE = "unavailable"  # beside the words of RecipientStatus: it cannot be known now
_STRANGER = Connection(parse_ip("192.0.2.1"))  # RFC 5737: nobody's address; trust is that of the internet
_HOUR_MS = 3_600_000


class BadAddressError(FilterdError):
    """What was given is no mailbox."""


@dataclass(frozen=True, slots=True)
class AddressView:
    """What is known of one address.

    Attributes:
        status: a word of RecipientStatus, or UNAVAILABLE.
        backend: who says so.
        as_of_ms: Unix milliseconds at which that was true, of several sources the oldest; None for now.
        domain: the accepted domain that it belongs to, empty for none.
        domain_type: as Exchange names types of accepted domains.
        reply: what a stranger is told at RCPT.
        problem: why it cannot be known; empty when it can.
        sender: whose word was asked for; None for nobody.
        sender_word: safe, blocked, or None when the mailbox says nothing of that sender.
        has_senders: whether the mailbox has safe or blocked senders that can be read.
    """

    address: str
    status: str
    backend: str
    as_of_ms: int | None
    domain: str
    domain_type: str
    thresholds: Thresholds
    reply: str
    problem: str = ""
    sender: str | None = None
    sender_word: str | None = None
    has_senders: bool = False

    @property
    def is_known(self) -> bool:
        """Whether there is such a recipient, be it for people inside only."""
        return self.status in (RecipientStatus.KNOWN, RecipientStatus.INTERNAL_ONLY)


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source of recipients.

    Attributes:
        busy: somebody is writing its snapshot just now.
    """

    status: BackendStatus
    busy: bool = False

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self.status), "busy": self.busy}


class DirectoryView:
    """The directory, asked by people.  Keep one: it reads files once, and again when they change."""

    def __init__(self, config: Config, directory: ChainDirectory | None = None) -> None:
        """Without `directory` it is built: blocks.  Raises ConfigError."""
        self._config = config
        self.directory = directory or build_directory(config)

    async def test(self, address: str, sender: str | None = None) -> AddressView:
        """What is known of `address`, and what it says of `sender`.  Raises BadAddressError for what is no mailbox."""
        given = _mailbox(address, "address")
        mailbox = self._ours(given)
        asked = str(_mailbox(sender, "sender")) if sender else None
        await self.directory.refresh()
        local, domain = mailbox.local, mailbox.domain_key
        problem = ""
        try:
            answer = await self.directory.look_up(local, domain, stage_deadline(Stage.RCPT))
        except TemporaryError as error:
            answer, problem = None, str(error)
        except TimeoutError:
            answer, problem = None, "no answer in time"
        senders = self.directory.sender_list(local, domain)
        accepted = self.directory.accepted(domain)
        found = answer or RecipientAnswer(RecipientStatus.UNKNOWN)
        return AddressView(
            address=str(given),
            status=answer.status.value if answer else UNAVAILABLE,
            backend=found.backend,
            as_of_ms=found.as_of_ms if answer is None or answer.as_of_ms is not None else self._as_of(answer),
            domain=accepted.name if accepted else "",
            domain_type=accepted.type.value if accepted else "",
            thresholds=found.thresholds,
            reply=str(await self._reply(mailbox)),
            problem=problem,
            sender=asked,
            sender_word=_word(senders, asked),
            has_senders=senders is not None,
        )

    async def status(self) -> list[SourceView]:
        """All sources, in the order in which they are asked."""
        await self.directory.refresh()
        busy = {name: _is_locked(path.with_name(f"{path.name}.lock")) for name, path in snapshots(self._config)}
        return [SourceView(status, busy.get(status.name, False)) for status in self.directory.status()]

    async def close(self) -> None:
        """Let go of connections."""
        await self.directory.close()

    async def _reply(self, mailbox: Mailbox) -> Reply:
        """By the same check and the same decision as for mail, without what is known of a real client."""
        recipient = Recipient(mailbox)
        context = CheckContext(
            _STRANGER, stage_deadline(Stage.RCPT), envelope=Envelope("", None, (), (recipient,)), recipient=recipient
        )
        check = RecipientCheck(self.directory, self._config.reports.domain or "")
        evidence = await Pipeline([check]).run(Stage.RCPT, context)
        verdict = decide(evidence, Policy.of(self._config), Stage.RCPT, mailbox.key)
        return verdict.reply or Reply(250, "2.1.5", "Recipient OK")

    def _as_of(self, answer: RecipientAnswer) -> int | None:
        """Of "unknown": the time of the oldest list in which nobody was found; it may be too old."""
        asked = answer.backend.split(", ") if answer.status is RecipientStatus.UNKNOWN else []
        times = (status.read_ms for status in self.directory.status() if status.name in asked)
        return min((at_ms for at_ms in times if at_ms is not None), default=None)

    def _ours(self, mailbox: Mailbox) -> Mailbox:
        """The postmaster of our own names is the first accepted domain's."""
        names = (self._config.server.hostname, self._config.reports.domain)
        domain = postmasters(names, self.directory.domains()).get(mailbox.domain_key)
        return Mailbox(mailbox.local, domain) if domain and mailbox.local.lower() == "postmaster" else mailbox


def json_of(view: AddressView) -> dict[str, Any]:
    """For programs."""
    age = None if view.as_of_ms is None else max(0, int(time.time() - view.as_of_ms / 1000))
    return {**asdict(view), "known": view.is_known, "age_seconds": age}


def _mailbox(text: str, field: str) -> Mailbox:
    mailbox = parse_mailbox(text.strip().removeprefix("<").removesuffix(">"))
    if mailbox is None:
        raise BadAddressError(f"{field}: expected one such as user@example.org, found {text[:80]!r}")
    return mailbox


def _word(senders: SenderList | None, sender: str | None) -> SenderWord | None:
    return senders.says(sender) if senders is not None and sender is not None else None


def _is_locked(path: Path) -> bool:
    """Whether somebody holds the file's lock.  Asked of the kernel, not by taking it: that could turn a writer away."""
    try:
        status = path.stat()
        locks = Path("/proc/locks").read_text("ascii", "replace")
    except OSError:
        return False
    name = f"{status.st_ino}"
    fields = (line.split() for line in locks.splitlines())
    return any("FLOCK" in words and any(word.endswith(f":{name}") for word in words) for words in fields)
