"""Owns the mail that the gate looks at beside the ledger: pinned messages, the shipped set, the site's mail of the last days.

Both models score stored features, which are those of the whole message.  Must not know what the gate makes of the scores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from filterd.auth.author import domains_in
from filterd.classifier.features import Indices, from_octets
from filterd.config import SEED_MODEL
from filterd.content.freemail import FREEMAIL
from filterd.content.persons import mailboxes
from filterd.learning import drift
from filterd.storage import pins, recent
from filterd.storage.database import Database
from training.candidate import Candidate, Lessons, Trained
from training.extract import item_features
from training.fitting import valid_indices
from training.judged import Judged
from training.readers import read_index
from training.streams import MIN_STREAM, Stream

DAYS = 14  # of recent mail: two weeks show what writes weekly
DAY_MS = 86_400_000
REGRESSION = SEED_MODEL.parent / "regression"
_NAMED = 200  # characters of a stream's name

Score = Callable[[Indices], float]


@dataclass(frozen=True, slots=True)
class Scores:
    """The models that say something of a message: each gives calibrated log-odds of features (training/judged.py)."""

    candidate: Score
    active: Score
    root: Score | None = None
    earlier: Score | None = None

    def judged(self, message: str, spam: bool, indices: Indices) -> Judged:
        """What they say of one."""
        root = self.root(indices) if self.root is not None else None
        earlier = self.earlier(indices) if self.earlier is not None else None
        return Judged(message, spam, self.candidate(indices), self.active(indices), root, earlier)


def pinned(database: Database, scores: Scores) -> list[Judged]:
    """The site's confirmed good mail; pins of an older program's features are left out, no model can judge them."""
    found = []
    for pin in pins.list_pins(database):
        indices = from_octets(pin.features)
        if indices is not None:
            name = pin.message_id or f"pin {pin.id}"
            found.append(scores.judged(name, False, valid_indices(indices)))
    return found


@cache
def _shipped(folder: Path) -> list[tuple[str, bool, Indices]]:
    return [(item.path, item.spam, item_features(item)) for item in read_index(folder / "index.tsv", folder)]


def regression(candidate: Score, active: Score, root: Score | None = None, folder: Path = REGRESSION) -> list[Judged]:
    """The shipped set.  Raises CorpusError, OSError when it is not there."""
    scores = Scores(candidate, active, root)
    return [scores.judged(path, spam, indices) for path, spam, indices in _shipped(folder)]


@dataclass(slots=True)
class _Streams:
    """Mail of one fate by sender or campaign, and what was said against that fate."""

    messages: defaultdict[str, list[Judged]] = field(default_factory=lambda: defaultdict(list))
    witnesses: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    trusted: set[str] = field(default_factory=set)

    def testify(self, name: str, witness: recent.Witness) -> None:
        self.witnesses[name].add(witness.reporter)
        if witness.trusted:
            self.trusted.add(name)

    def result(self) -> list[Stream]:
        return [
            Stream(_shown(name), tuple(messages), len(self.witnesses[name]), name in self.trusted)
            for name, messages in sorted(self.messages.items())
        ]


def _shown(name: str) -> str:
    """A sender chooses its name: no control or bidirectional characters of it get to a terminal or a page."""
    return "".join(character if character.isprintable() else "?" for character in name[:_NAMED])


def streams(
    database: Database, now_ms: int, scores: Scores, least: int = MIN_STREAM
) -> tuple[list[Stream], list[Stream]]:
    """(forwarded mail by sender, stopped mail by campaign) of the last days.

    Messages that somebody reported as the opposite of their fate stay in: else three people who get all mail of a sender could hide
    from the gate what they want to be blocked.  How many such people there are, and whether an administrator is among them, is told.
    `least`: messages below which a stream is left out, the gate does not speak of it.
    """
    since = now_ms - DAYS * DAY_MS
    senders, campaigns = _Streams(), _Streams()
    for witness in recent.witnesses(database, since):
        if witness.ham and witness.campaign is not None:
            campaigns.testify(witness.campaign, witness)
        if not witness.ham and (sender := author(witness.header_from)):
            senders.testify(sender, witness)
    known: dict[str, str] = {}  # a site's mail has few authors

    def belongs(mail: recent.Header | recent.RecentMail) -> str:
        if not mail.forwarded:
            return f"campaign {mail.campaign}" if mail.campaign else ""
        if mail.header_from not in known:
            known[mail.header_from] = author(mail.header_from)
        return known[mail.header_from]

    for mail, indices in _readable(recent.of_each(database, since, belongs, least)):
        target, name = (senders, belongs(mail)) if mail.forwarded else (campaigns, mail.campaign or "")
        target.messages[name].append(scores.judged(mail.message_id, not mail.forwarded, indices))
    return senders.result(), campaigns.result()


def author(header_from: str) -> str:
    """The author domain; the whole address where everybody can have one; empty when From names nobody."""
    domains = domains_in(header_from)
    if not domains:
        return ""
    if domains[0] not in FREEMAIL:
        return domains[0]
    people = mailboxes(header_from)
    return f"{people[0].local.lower()}@{domains[0]}" if people else domains[0]


def reference(database: Database, made: Candidate, lessons: Lessons) -> dict[str, Any]:
    """What later days are held against (filterd/learning/drift.py): mail of the days before the newest lesson.

    Before that and not before now: so that the same ledger and the same mail give the same manifest whenever it is made.
    """
    until = int(made.training["until_ms"])
    final = made.final
    mail = recent.newest(database, until - DAYS * DAY_MS, until)
    scored = [
        drift.Scored(item.message_id, final.log_odds(indices), _unknown(final, indices))
        for item, indices in _readable(mail)
    ]
    told = [
        drift.Told(lessons.notes[number].message, log_odds, lessons.notes[number].spam)
        for number, log_odds in sorted(made.held_out.items())
    ]
    return drift.reference(scored, told)


def _unknown(model: Trained, indices: Indices) -> float:
    return float((model.learner.weights[indices] == 0).sum()) / max(len(indices), 1)


def _readable(mail: Iterable[recent.RecentMail]) -> Iterator[tuple[recent.RecentMail, Indices]]:
    for item in mail:
        indices = from_octets(item.features)
        if indices is not None:
            yield item, valid_indices(indices)
