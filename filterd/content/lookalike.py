"""Owns whether a host looks like one of some protected domains: other letters, a slip of the pen, words added, another ending.

Prepared once for a set of domains; a question costs some 20 µs then, whatever their number.
UTS #39 (skeletons), Damerau-Levenshtein distance.  Must not know whose the domains are, nor what a likeness costs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import combinations

from filterd.content.confusables import fold
from filterd.content.host import read_name, u_label
from filterd.content.suffixes import organizational

_MIN_NEAR = (
    5  # letters of a name from which one slip counts: half of all words of four letters are one apart from another
)
_MIN_FAR = 10  # … and from which two do
_MIN_WORDS = (
    4  # letters of a name that is looked for among words with hyphens (without: _MIN_NEAR), or in other letters
)
_MAX_WORDS = 8  # of a name with hyphens
_MIN_ENDING = 5  # … of one whose other endings count: short names belong to somebody under each top-level domain
_MAX_KNOWN = 4_096
_MAX_LABEL = 63

# What phishing adds to a name, in English and German; seen in lists of such domains, and what helpdesks call their pages.
_ADDED = """
    access account accounts admin alert alerts app auth bank billing business care center client cloud com connect customer
    delivery de desk direct docs email eu file files global gmbh group help helpdesk home hr id inc info int intl invoice
    invoices it konto kunde kunden kundenservice login logon mail mailbox mein meine members my net notice now office
    official online org pay payment payments portal rechnung rechnungen secure secured security service services share
    shop sicher sicherheit signin site sso store support team update updates user verification verify vpn web webmail www
    zahlung
"""
_WORDS = frozenset(_ADDED.split())
# Services that show a site under its own name, given to nobody else: Google's translator and AMP, Microsoft's Defender for
# Cloud Apps and Exchange Online.
_STAND_INS = frozenset({"ampproject.org", "mail.protection.outlook.com", "mcas.ms", "translate.goog"})
# Digits and pairs that are read as a letter, and letters that are drawn alike (UTS #39 takes 1, l and I for one as well).
_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "3": "e", "5": "s"})


class Likeness(StrEnum):
    """How a host looks like a protected domain, strongest first."""

    SUBDOMAIN = "subdomain"  # example.com.evil.net, example-com.evil.net
    CONFUSABLE = "confusable"  # examp1e.com, exarnple.com, ехample.com
    DISTANCE = "distance"  # exmaple.com
    WORDS = "words"  # example-login.com, secureexample.com
    ENDING = "ending"  # example.net


@dataclass(frozen=True, slots=True)
class Found:
    """The protected domain that a host looks like, and how."""

    kind: Likeness
    domain: str


@dataclass(frozen=True, slots=True)
class _Name:
    """A protected name as slips are looked for: its skeleton, where it comes from, its letters, how many slips it may have."""

    name: str
    domain: str
    ending: str
    letters: int
    slips: int


class Lookalikes:
    """Protected domains, prepared to be compared with.

    Attributes:
        find: (host in lower-case A-labels) -> what it looks like; None for the protected domains, what is below them, and
            everything else.  Remembers its answers.
    """

    find: Callable[[str], Found | None]

    def __init__(self, domains: Iterable[str]) -> None:
        """`domains`: as they are written; what is no name is left out, the organizational domain is what counts."""
        hosts = [read_name(domain) for domain in domains]
        named = {host.name for host in hosts if host is not None and host.domain}
        self._protected = frozenset(named | {organizational(name) for name in named})
        self._hyphened = {name.replace(".", "-"): name for name in sorted(self._protected)}
        self._skeletons: dict[str, list[str]] = {}
        self._lengths: list[list[_Name]] = [[] for _ in range(_MAX_LABEL + 3)]
        for domain in sorted({organizational(name) for name in named}):
            label, _, ending = domain.partition(".")
            name = skeleton(label)
            self._skeletons.setdefault(name, []).append(domain)
            if _slips(name):
                self._lengths[len(name)].append(_Name(name, domain, ending, _letters(name), _slips(name)))
        self._longest = max(map(len, self._skeletons), default=0)
        self._joined = {
            joined: domains[0]
            for name, domains in self._skeletons.items()
            if len(joined := name.replace("-", "")) >= _MIN_WORDS
        }
        self.find = lru_cache(_MAX_KNOWN)(self._find)

    def _find(self, host: str) -> Found | None:
        if not self._protected:
            return None
        labels = host.split(".")[-12:]
        above = [".".join(labels[start:]) for start in range(len(labels))]
        if not (self._protected.isdisjoint(above) and _STAND_INS.isdisjoint(above)):
            return None
        own = organizational(host)
        name, _, ending = own.partition(".")
        return (
            self._as_subdomain(labels, own.count(".") + 1)
            or self._as_confusable(name, ending)
            or self._as_slip(name, ending)
            or self._with_words(name)
        )

    def _as_subdomain(self, labels: list[str], owned: int) -> Found | None:
        """`owned`: labels of the organizational domain; what has the protected name there is another ending of it."""
        for label in labels:
            if "-" in label and label in self._hyphened:
                return Found(Likeness.SUBDOMAIN, self._hyphened[label])
        for begin, end in combinations(range(len(labels) - owned + 1), 2):
            part = ".".join(labels[begin:end])
            if part in self._protected:
                return Found(Likeness.SUBDOMAIN, part)
        return None

    def _as_confusable(self, name: str, ending: str) -> Found | None:
        alike = self._skeletons.get(skeleton(name), ())
        for domain in alike:
            # of short names some pair is always alike: u1 and ul; letters of another alphabet are no accident
            if domain.partition(".")[0] != name and (len(name) >= _MIN_WORDS or name.startswith("xn--")):
                return Found(Likeness.CONFUSABLE, domain)
        for domain in alike:
            if len(name) >= _MIN_ENDING and _is_registry(ending):
                return Found(Likeness.ENDING, domain)
        return None

    def _as_slip(self, name: str, ending: str) -> Found | None:
        drawn = skeleton(name)
        letters, size = _letters(drawn), len(drawn)
        for wanted in self._lengths[max(0, size - 2) : size + 3]:
            for other in wanted:
                # each slip takes at most one letter from the set of those that occur, and brings one
                if (letters ^ other.letters).bit_count() > 2 * other.slips or other.ending != ending:
                    continue
                if abs(size - len(other.name)) <= other.slips and distance(drawn, other.name) <= other.slips:
                    return Found(Likeness.DISTANCE, other.domain)
        return None

    def _with_words(self, name: str) -> Found | None:
        words = name.split("-")[:_MAX_WORDS]
        # what is no added word must be of the name
        rest = [index for index, word in enumerate(words) if word not in _WORDS and not word.isdigit()]
        first, last = (rest[0], rest[-1]) if rest else (len(words), -1)
        for begin in range(min(first, len(words) - 1) + 1):
            for end in range(max(last, begin) + 1, len(words) + 1):
                domain = self._joined.get(skeleton("".join(words[begin:end]))) if end - begin < len(words) else None
                if domain is not None:
                    return Found(Likeness.WORDS, domain)
        whole = "".join(words)
        for size in range(_MIN_NEAR, min(len(whole) - 1, self._longest + 2)):
            for part, other in ((whole[:size], whole[size:]), (whole[-size:], whole[:-size])):
                if other in _WORDS and len(other) > 2:
                    domain = self._joined.get(skeleton(part))
                    if domain is not None:
                        return Found(Likeness.WORDS, domain)
        return None


def skeleton(label: str) -> str:
    """What is left of a label when everything that is drawn alike is the same: A-labels decoded, accents gone."""
    text = u_label(label)
    if not text.isascii():
        plain = unicodedata.normalize("NFKD", fold(text))
        text = "".join(char for char in plain if not unicodedata.combining(char)).lower()
    return text.translate(_ALIKE).replace("rn", "m").replace("vv", "w")[:_MAX_LABEL]


def is_disguised(host: str) -> bool:
    """Whether a label has letters of another alphabet that look like Latin ones, beside Latin ones or instead of all.

    Names of one alphabet under an ending of the same are what they seem.
    """
    labels = [u_label(label) for label in host.split(".")] if "xn--" in host else []
    return bool(labels) and labels[-1].isascii() and any(_is_disguised(label) for label in labels[:-1])


def _is_disguised(label: str) -> bool:
    if label.isascii():
        return False
    folded = fold(label)
    foreign = [
        char
        for char in label
        if not char.isascii() and fold(char).isascii() and not unicodedata.name(char, "").startswith("LATIN")
    ]
    return bool(foreign) and (folded.isascii() or any("a" <= char <= "z" for char in label))


def distance(one: str, other: str) -> int:
    """Damerau-Levenshtein distance (optimal string alignment): letters put in, left out, changed, neighbours exchanged."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for index, char in enumerate(one):
        before_that, before, row = before, row, [index + 1]
        for column, wanted in enumerate(other):
            cost = min(before[column] + (char != wanted), before[column + 1] + 1, row[column] + 1)
            if index and column and char == other[column - 1] and one[index - 1] == wanted:
                cost = min(cost, before_that[column - 1] + 1)
            row.append(cost)
    return row[-1]


def _slips(name: str) -> int:
    """How many slips a name of this length may have and still be taken for the right one."""
    return 0 if len(name) < _MIN_NEAR else 1 if len(name) < _MIN_FAR else 2


def _letters(name: str) -> int:
    """The set of characters that occur, as bits."""
    bits = 0
    for char in name:
        bits |= 1 << (ord(char) & 63)
    return bits


def _is_registry(ending: str) -> bool:
    """com, de, co.uk, com.au; not the ending of some provider's customers, who are often who they say."""
    first, dot, country = ending.partition(".")
    return not dot or (len(country) == 2 and len(first) <= 3)
