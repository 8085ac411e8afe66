"""Owns what a mail server's answer to RCPT says about the recipient, and for how long answers are believed.  RFC 5321 4.2.3; RFC 3463.

Must not know how servers are asked.  Times are seconds of a clock that never goes back.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto

# RFC 3463 3.2, and the codes of Exchange (facts: exchange.md 8): what is wrong is the address of the destination.
# Not 5.1.7 and 5.1.8, which are about the reverse-path.
_NOBODY = frozenset({"5.1.1", "5.1.3", "5.1.4", "5.1.5", "5.1.6", "5.1.10", "5.4.1"})
# RFC 3463 3.2: "other address status", which some say of the sender; "bad destination system", which is the whole domain.
_VAGUE = frozenset({"5.1.0", "5.1.2"})
_DISABLED = "5.2.1"  # RFC 3463 3.3: a mailbox that takes no messages any more
_FULL = frozenset({"5.2.2", "5.2.3"})  # … is full, or does not take this size: it is there
_UNEXPLAINED = frozenset({550, 551, 553})  # RFC 5321 4.2.3: no such mailbox, but 550 is used for policy as well


class Meaning(Enum):
    """What an answer says about the recipient."""

    KNOWN = auto()
    UNKNOWN = auto()
    UNCLEAR = auto()  # temporary, or not about the recipient: it must never become "unknown"


def meaning(code: int, enhanced: str, believable: bool) -> Meaning:
    """What a reply to RCPT means.

    `believable`: the server has taken some recipient of this domain just now; without that a refusal that does not say what
    it is about may as well mean us (an address that is blocked, a rule against callers), and would lose all mail.
    """
    if 200 <= code < 300 or enhanced in _FULL:
        return Meaning.KNOWN
    if code < 500:
        return Meaning.UNCLEAR
    if enhanced and enhanced not in _VAGUE:
        return Meaning.UNKNOWN if enhanced in _NOBODY or enhanced == _DISABLED else Meaning.UNCLEAR
    return Meaning.UNKNOWN if believable and code in _UNEXPLAINED else Meaning.UNCLEAR


def nobody_at(domain: str) -> str:
    """An address of the domain that nobody has: 80 random bits."""
    return f"filterd-{secrets.token_hex(10)}@{domain}"


@dataclass(frozen=True, slots=True)
class Remembered:
    """One answer.

    Attributes:
        at: when it was given.
        at_ms: the same in Unix milliseconds.
    """

    at: float
    at_ms: int


class Memory:
    """Answers by address, the least recently used go first; an attack with unknown addresses never displaces known ones."""

    def __init__(self, entries: int, positive_seconds: float, negative_seconds: float) -> None:
        """`entries`: of known and unknown together."""
        self._most = max(1, entries // 2)
        self._seconds = {True: positive_seconds, False: negative_seconds}
        self._tables: dict[bool, OrderedDict[str, Remembered]] = {True: OrderedDict(), False: OrderedDict()}

    def __len__(self) -> int:
        """How many answers are kept."""
        return sum(map(len, self._tables.values()))

    def put(self, address: str, known: bool, now: Remembered) -> None:
        """Keep an answer; it takes the place of the opposite one."""
        self._tables[not known].pop(address, None)
        table = self._tables[known]
        table[address] = now
        table.move_to_end(address)
        if len(table) > self._most:
            table.popitem(last=False)

    def fresh(self, address: str, at: float) -> tuple[bool, Remembered] | None:
        """Whether it is known, and since when, if that may still be believed."""
        for known, table in self._tables.items():
            found = table.get(address)
            if found is None:
                continue
            if at - found.at < self._seconds[known]:
                table.move_to_end(address)
                return known, found
            if not known:
                del table[address]
        return None

    def stale(self, address: str) -> Remembered | None:
        """When it was last known, however long ago: better than nothing while the server is down."""
        table = self._tables[True]
        if address in table:
            table.move_to_end(address)
        return table.get(address)
