"""Owns the one door for reports, whoever brings them: API, report mail, add-in, quarantine.  Blocks: not for the mail path.

What comes with a report is a key to our own record of the message, and the fallback where we have none: people's programs rewrite
what they forward, and anybody can make a message up.  A report changes no model by itself.  Must not know HTTP or SMTP.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from filterd.adapters.directory import known_domains
from filterd.auth.names import ascii_domain
from filterd.classifier.features import Indices, distinct, features, from_octets, grams, to_octets
from filterd.classifier.stream import ConnectionFacts, Stream, content_stream
from filterd.config import Config
from filterd.content.fingerprint import fingerprint
from filterd.content.persons import mailboxes
from filterd.engine.scan import with_crlf
from filterd.errors import PermanentError
from filterd.learning.provenance import Origin, holds, is_login_of, reporter_key
from filterd.learning.trust import MIN_TRUST, State
from filterd.mail.address import parse_mailbox
from filterd.mail.message import Message
from filterd.mail.verdict import Action
from filterd.storage import campaigns, reported, reports, words
from filterd.storage.database import Database, now_ms
from filterd.storage.entries import clean
from filterd.storage.reported import Known
from filterd.storage.reports import Entry, Label

log = logging.getLogger(__name__)

MAX_REPORTER = 320  # characters (RFC 5321 4.5.3.1: 64 + 1 + 255)
MAX_SOURCE = 64
MAX_NOTE = 2_000  # characters
QUARANTINE = "quarantine"  # source of what is said by a release or a deletion there
_MAX_NAME = 255  # octets of a Message-ID that is kept with the report: it stands in an index
# Share of the features of the text that must be in our record, and how many there must be to tell: of 763 real messages whose
# header and MIME were made anew as Exchange does, none had less than 0.27; of 685 pairs of unrelated ones 99 % had less than 0.24.
_ALIKE = 0.25
_MIN_TEXT = 60
_SAME = (
    0.5  # share of the features that two records of one message have in common; where a mail came from is in them too
)
_MAX_ASKED = 10  # of those who say the opposite; of more than these one will be heard
_STOPPED = frozenset({Action.TAG, Action.QUARANTINE, Action.REJECT, Action.DISCONNECT})


class UnknownMessageError(PermanentError):
    """We have no message with that id."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says of a message; give one of message_id, internet_message_id and octets, or several.

    Attributes:
        label: spam, ham or phish.
        reporter: mailbox of the person, or name of the token.
        source: how it reached us (api, mail, addin, quarantine …).
        message_id: our id.
        internet_message_id: Message-ID field, with or without its angle brackets.
        octets: the message as the reporter has it, with any line ends.
        trusted: an administrator's word: never held, outweighs others.
    """

    label: str
    reporter: str
    source: str
    message_id: str | None = None
    internet_message_id: str = ""
    octets: bytes = b""
    note: str = ""
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Submitted:
    """The report is durable.

    Attributes:
        state: counting or held; what a review said, when the same was reported before.
        holds: why it waits for a review; learning.provenance.TEXTS says it to people.
        message_id: our id of the message; None when it did not come through us.
        already: this person said the same of this message, or its campaign, before; nothing was written.
    """

    report_id: int
    state: State
    holds: tuple[str, ...]
    message_id: str | None
    already: bool = False


@dataclass(frozen=True)
class _Brought:
    """What the octets say that came with the report."""

    message: Message
    stream: Stream

    @cached_property
    def text(self) -> Indices:
        """The features of its text alone: headers and structure are what programs make anew."""
        pieces = [self.stream.data[begin:end] for name, begin, end in self.stream.sections if name == "text"]
        return distinct(grams(b"".join(pieces)))[0]

    @property
    def name(self) -> str:
        return self.message.first("message-id")


def submit(config: Config, database: Database, claim: Claim, at_ms: int | None = None) -> Submitted:
    """Write a report into the corpus ledger.

    Raises:
        UnknownMessageError: there is no message with that message_id.
        PermanentError: names the field and what is wrong with it.
        StorageError: nothing was written.
    """
    at = now_ms() if at_ms is None else at_ms
    claim = _checked(claim)
    brought = _read(claim.octets) if claim.octets else None
    name = claim.internet_message_id or (clean(brought.name) if brought else "")
    known, altered, ambiguous = _find(database, claim, name, brought)
    entry, recorded = _entry(database, claim, name, known, brought)
    author = known.header_from if known else (brought.message.first("from") if brought else "")
    origin = Origin(
        insider=_is_insider(config, claim.reporter),
        recorded=recorded,
        delivered=known is not None and known.delivered,
        own=_is_own(claim.reporter, known, author),
        in_hour=0,
        contradicted=False,
        trust=1.0 if claim.trusted else words.standing_of(database, claim.reporter).trust,
        altered=altered,
        ambiguous=ambiguous,
    )

    unheard = set() if claim.trusted else _unheard(database, entry)

    def judge(in_hour: int, opponents: list[str]) -> tuple[str, ...]:
        now = replace(origin, in_hour=in_hour, contradicted=not unheard.issuperset(opponents))
        return holds(now, config.learning.reports_per_hour)

    found = reports.record(database, entry, judge, at)
    log.info(
        "reported" if not found.already else "reported again",
        extra={
            "report": found.id,
            "id": entry.message_id,
            "label": entry.label.value,
            "by": entry.reporter,
            "source": entry.source,
            "state": found.state.value,
            "holds": list(found.holds),
        },
    )
    return Submitted(found.id, found.state, found.holds, entry.message_id, found.already)


def _unheard(database: Database, entry: Entry) -> set[str]:
    """Of those who say the opposite whoever was wrong too often: they contradict nobody.

    Read before the transaction that writes, which the mail path would have to wait for.
    """
    names = reports.opponents_of(database, entry)[:_MAX_ASKED]
    return {name for name in names if words.standing_of(database, name).trust < MIN_TRUST}


def _checked(claim: Claim) -> Claim:
    """The claim in the form to store and to compare.  Raises PermanentError that names the field."""
    if claim.label not in set(Label):
        raise PermanentError(f"label: expected {', '.join(Label)}, found {claim.label!r}")
    reporter = reporter_key(clean(claim.reporter))
    if not 1 <= len(reporter) <= MAX_REPORTER:
        raise PermanentError(f"reporter: expected a mailbox or a name of at most {MAX_REPORTER} characters")
    if not 1 <= len(claim.source) <= MAX_SOURCE:
        raise PermanentError(f"source: expected at most {MAX_SOURCE} characters")
    if len(claim.note) > MAX_NOTE:
        raise PermanentError(f"note: expected at most {MAX_NOTE} characters")
    name = clean(claim.internet_message_id).strip()
    if claim.message_id is None and not claim.octets and not name:
        raise PermanentError("message_id: expected our id, the Message-ID or the message itself")
    id = clean(claim.message_id) if claim.message_id is not None else None
    return replace(claim, reporter=reporter, message_id=id, internet_message_id=name)


def _read(octets: bytes) -> _Brought:
    message = Message(with_crlf(octets))
    return _Brought(message, content_stream(message, ConnectionFacts()))


def _find(database: Database, claim: Claim, name: str, brought: _Brought | None) -> tuple[Known | None, bool, bool]:
    """Our record of the message; whether what was brought is unlike it; whether another one may be meant as well.

    Of several with one Message-ID: what reached the reporter, and what looks most like the one that was brought; then the newest.
    """
    if claim.message_id is not None:
        known = reported.by_id(database, claim.message_id, claim.reporter)
        if known is None:
            raise UnknownMessageError(f"message_id: no message with the id {claim.message_id[:80]!r}")
        candidates = [known]
    else:
        candidates = reported.by_name(database, name, claim.reporter)
    if not candidates:
        return None, False, False
    alike = {known.message_id: _likeness(known, brought) for known in candidates}
    # Whole percents: the same text sent twice must not be told apart by a feature or two.
    best = min(
        candidates,
        key=lambda known: (not known.delivered, -round(100 * alike[known.message_id]), not known.features),
    )
    others = [known for known in candidates if known.delivered == best.delivered and known is not best]
    ambiguous = brought is None and any(_is_another(best, known) for known in others)
    return best, alike[best.message_id] < _ALIKE, ambiguous


def _likeness(known: Known, brought: _Brought | None) -> float:
    """Share of the text that was brought which our record has; 1 where that cannot be told."""
    ours = from_octets(known.features)
    if brought is None or ours is None or not len(ours) or len(brought.text) < _MIN_TEXT:
        return 1.0
    return len(np.intersect1d(ours, brought.text, assume_unique=True)) / len(brought.text)


def _is_another(one: Known, other: Known) -> bool:
    """Whether two records of one Message-ID are of different messages; not known means no."""
    mine, theirs = from_octets(one.features), from_octets(other.features)
    if mine is None or theirs is None or not len(mine) or not len(theirs):
        return False
    return len(np.intersect1d(mine, theirs, assume_unique=True)) < _SAME * max(len(mine), len(theirs))


def _entry(
    database: Database, claim: Claim, name: str, known: Known | None, brought: _Brought | None
) -> tuple[Entry, bool]:
    """The row to write, and whether its features are those of our own record."""
    learned = known.features if known else b""
    recorded = known is not None and bool(learned or brought is None)
    campaign = known.campaign if known else None
    if brought is not None and not recorded:
        learned = to_octets(features(brought.stream))
        like = fingerprint(brought.message) if known is None else None
        campaign = campaigns.find(database, like.keys, like.sketch) if like else campaign
    ours = known.name if known else name
    entry = Entry(
        message_id=known.message_id if known else None,
        label=Label(claim.label),
        reporter=claim.reporter,
        source=claim.source,
        features=learned,
        note=claim.note,
        campaign=campaign,
        name=ours if len(ours.encode("utf-8", "replace")) <= _MAX_NAME else "",
        trusted=claim.trusted,
        pinned=known is not None and (known.action in _STOPPED or claim.source == QUARANTINE),
        header_from=known.header_from if known else "",
        subject=known.subject if known else "",
    )
    return entry, recorded


def _is_insider(config: Config, reporter: str) -> bool:
    mailbox = parse_mailbox(reporter)
    if mailbox is None:
        return False
    return known_domains(config).is_ours(ascii_domain(mailbox.domain) or "")


def _is_own(reporter: str, known: Known | None, author: str) -> bool:
    """Whether the reporter made the message; what only claims so (a spoofed author) is nobody's own."""
    if known is not None:
        if is_login_of(known.login, reporter):  # whatever author he put into it
            return True
        if known.spoofed:
            return False
        if reporter_key(known.mail_from) == reporter:
            return True
    return any(f"{person.local}@{person.domain}".lower() == reporter for person in mailboxes(author))
