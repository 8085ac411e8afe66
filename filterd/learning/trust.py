"""Owns whose word counts: the trust of each reporter, and what the reports on one thing say together.

A thing (`group`) is a campaign of near-duplicates, else a message: however many report it, it is learned once.  Everything is
derived from the words alone, whatever their order, so that a report that is taken away leaves no trace in anybody's trust.
Pure; must not know where reports are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

# (agreed + 0.6) / (agreed + 3 * disagreed + 2): a new reporter has 0.3, so that two of them or one with an agreed report (0.53)
# reach learning.agreement; a wrong word costs as much as three right ones gain: 0.12 after one, 0.08 (held) after two.
_PRIOR = 0.6
_PRIOR_WORDS = 2
_COST = 3
MIN_TRUST = 0.1  # whose trust is below it is not heard: what two wrong words and no right one leave, 0.6 / 8 = 0.075
# So many others who say the same confirm a word when no trusted one is there: an attacker with three accounts has two others.
CONFIRMING = 3


class State(StrEnum):
    """What becomes of a report."""

    COUNTING = "counting"
    HELD = "held"  # waits for a review
    OVERRULED = "overruled"  # a review said that it is wrong
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Word:
    """A report as far as its weight goes.

    Attributes:
        id: of the report; a higher one is newer.
        ham: what it says; spam and phish are one side.
        disputes: it is held for nothing but that others say the opposite.
    """

    id: int
    reporter: str
    group: str
    ham: bool
    state: State
    trusted: bool = False
    disputes: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger says of a reporter: things on which they were found right and wrong."""

    agreed: int = 0
    disagreed: int = 0

    @property
    def trust(self) -> float:
        """Between 0 and 1; 0.3 for somebody of whom nothing is known."""
        return trust(self.agreed, self.disagreed)


@dataclass(frozen=True, slots=True)
class Finding:
    """What may be learned of one thing.

    Attributes:
        ids: reports that say so, the best to learn from first: trusted ones, then the newest.
        trusted: whether an administrator said so.
        reporters: who says so, in order.
    """

    group: str
    ham: bool
    ids: tuple[int, ...]
    trusted: bool
    reporters: tuple[str, ...]


def trust(agreed: int, disagreed: int) -> float:
    """Trust of a reporter with so many things on which they were right, and wrong."""
    return (agreed + _PRIOR) / (agreed + _COST * disagreed + _PRIOR_WORDS)


class _Group:
    """The words on one thing."""

    __slots__ = ("_overruled", "_trusted", "_untrusted")

    def __init__(self) -> None:
        self._trusted: list[Word] = []
        self._untrusted: dict[str, Word] = {}  # the newest of each reporter
        self._overruled: set[str] = set()

    def add(self, word: Word) -> None:
        """Take one more; in any order."""
        if word.state is State.OVERRULED:
            self._overruled.add(word.reporter)
        elif word.state is State.WITHDRAWN or (word.state is State.HELD and not word.disputes):
            return
        elif word.trusted and word.state is State.COUNTING:
            self._trusted.append(word)
        else:
            before = self._untrusted.get(word.reporter)
            if before is None or before.id < word.id:
                self._untrusted[word.reporter] = word

    def side(self, heard: Callable[[str], bool] = lambda reporter: True) -> bool | None:
        """What is true as far as anybody knows (ham?): the newest trusted word, else what nobody disputes; None when it is open."""
        if self._trusted:
            return max(self._trusted, key=lambda word: word.id).ham
        sides = {word.ham for word in self._untrusted.values() if heard(word.reporter)}
        return sides.pop() if len(sides) == 1 else None

    def judged(self) -> Iterable[tuple[str, bool]]:
        """(reporter, whether they were right) of those about whom it is known; each once."""
        yield from ((reporter, False) for reporter in self._overruled)
        side = self.side()
        said = {word.reporter: word.ham for word in sorted(self._trusted, key=lambda word: word.id)}
        for reporter, word in self._untrusted.items():
            said[reporter] = word.ham
        for reporter, ham in said.items():
            if reporter in self._overruled or side is None:
                continue
            if self._trusted:
                yield reporter, ham == side
            elif len(said) > CONFIRMING:
                yield reporter, True

    def finding(self, group: str, standings: dict[str, Standing], agreement: float) -> Finding | None:
        """What may be learned of it; None when it is open, or too few say it."""

        def heard(reporter: str) -> bool:
            return standings.get(reporter, Standing()).trust >= MIN_TRUST

        side = self.side(heard)
        if side is None:
            return None
        counting = [word for word in self._untrusted.values() if word.state is State.COUNTING]
        said = [word for word in counting if word.ham == side and heard(word.reporter)]
        confirmed = [word for word in self._trusted if word.ham == side]
        if not confirmed:
            total = sum(
                standings.get(word.reporter, Standing()).trust for word in sorted(said, key=lambda w: w.reporter)
            )
            if not said or total < agreement:
                return None
        ordered = sorted([*confirmed, *said], key=lambda word: (not word.trusted, -word.id))
        reporters = tuple(sorted({word.reporter for word in ordered}))
        return Finding(group, side, tuple(word.id for word in ordered), bool(confirmed), reporters)


def _groups(words: Iterable[Word]) -> dict[str, _Group]:
    groups: defaultdict[str, _Group] = defaultdict(_Group)
    for word in words:
        groups[word.group].add(word)
    return groups


def _standings(groups: Iterable[_Group]) -> dict[str, Standing]:
    right: defaultdict[str, int] = defaultdict(int)
    wrong: defaultdict[str, int] = defaultdict(int)
    for group in groups:
        for reporter, agreed in group.judged():
            (right if agreed else wrong)[reporter] += 1
    return {reporter: Standing(right[reporter], wrong[reporter]) for reporter in right.keys() | wrong.keys()}


def standings(words: Iterable[Word]) -> dict[str, Standing]:
    """How far the word of each reporter was found right; who is not in it is new."""
    return _standings(_groups(words).values())


def findings(words: Iterable[Word], agreement: float) -> list[Finding]:
    """What may be learned, one of each thing: what a trusted word says, else what reporters with `agreement` trust together say.

    A thing on which untrusted reporters contradict each other is left out until a trusted word decides.  Who was wrong too often
    is not heard at all, also in what they said before: else they would stop others for as long as nobody reviews each word of theirs.
    """
    groups = _groups(words)
    known = _standings(groups.values())
    found = (group.finding(name, known, agreement) for name, group in groups.items())
    return [finding for finding in found if finding is not None]
