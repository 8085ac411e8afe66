"""Owns the names of people as they stand in address fields: mailboxes with their display names, and the form to compare.

Tolerant and linear, never raises.  RFC 5322 3.4, RFC 2047.  Must not know whose names are looked for.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from filterd.content.confusables import fold
from filterd.mail.message import Message, decode_words

MAX_FIELD = 4_000  # characters of one field that are read; the first mailbox is what people see
MAX_MAILBOXES = 10
MAX_SHOWN = 500  # characters of a display name; decoding of encoded words costs the square of it
MAX_WORDS = 12  # of a name; longer ones are slogans
# Zero-width and direction characters, which nobody sees: written to break up a name.
_UNSEEN = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_RUN = re.compile(r'[^"(<>,;:]+')
_WORD = re.compile(r"[^\W\d_]+")
_UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "ß": "ss"}
_SPELLED = str.maketrans(_UMLAUTS)
_PLAIN = str.maketrans({"ø": "o", "æ": "ae", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})
# Titles, offices and what programs add: they make no other person.
_SAID = """
    dr prof dipl ing med jur phd mba msc bsc mag lic habil nat rer hc mr mrs ms miss herr frau sir ceo cfo coo cto cio md gf
    president director direktor direktorin chef chairman chairwoman chair owner founder office officer executive chief
    financial managing vorstand geschaftsfuhrer geschaftsfuhrerin geschaeftsfuehrer geschaeftsfuehrerin leiter leiterin
    mobile mobil private privat iphone ipad android urgent important dringend
"""
_ADDITIONS = frozenset(_SAID.split())


@dataclass(frozen=True, slots=True)
class Person:
    """One mailbox of an address field.

    Attributes:
        shown: display name with encoded words decoded; a comment behind a bare address is one too.
        local: local-part as written.
        domain: as written; empty without an "@".
    """

    shown: str
    local: str
    domain: str


def persons_in(message: Message, field: str) -> list[Person]:
    """The mailboxes of all fields of that name."""
    found: list[Person] = []
    for header in message.all(field)[:MAX_MAILBOXES]:
        found += mailboxes(header.value[:MAX_FIELD])
    return found[:MAX_MAILBOXES]


def mailboxes(text: str) -> list[Person]:
    """The mailboxes in one field body; what cannot be read is left out."""
    found: list[Person] = []
    reading = _Reading()
    place = 0
    closes = {'"': True, "(": True}  # once one is found to be open-ended, its opener is an ordinary character
    while place < len(text) and len(found) < MAX_MAILBOXES:
        char = text[place]
        if closes.get(char):
            end = _end(text, place)
            closes[char] = end > 0
            if end:
                inner = text[place + 1 : end]
                (reading.words if char == '"' else reading.comment).append(inner.replace("\\", ""))
                place = end + 1
                continue
        if char in ",;" and not reading.inside:
            reading.add_to(found)
            reading = _Reading()
        elif char == ":" and not reading.inside and not reading.has_at:
            reading = _Reading()  # the name of a group
        elif char in "<>":
            reading.bracket(char)
        else:
            run = _RUN.match(text, place)
            piece = run[0] if run else char
            reading.read(piece)
            place += len(piece) - 1
        place += 1
    reading.add_to(found)
    return found[:MAX_MAILBOXES]


class _Reading:
    """One mailbox while it is read: its words, its comments, what stands in angle brackets."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.comment: list[str] = []
        self.angle: list[str] | None = None
        self.inside = False
        self.has_at = False

    def bracket(self, char: str) -> None:
        """An address in angle brackets begins or ends; of several the last counts."""
        self.inside = char == "<"
        if self.inside:
            self.angle = []

    def read(self, piece: str) -> None:
        """Characters outside of quotes and comments."""
        self.has_at = self.has_at or "@" in piece
        (self.angle if self.inside and self.angle is not None else self.words).append(piece)

    def add_to(self, found: list[Person]) -> None:
        """The mailbox ends."""
        words, said = "".join(self.words).strip(), " ".join(self.comment)
        address, shown = (words, said) if self.angle is None else ("".join(self.angle), f"{words} {said}".strip())
        local, at, domain = address.strip().rpartition("@")
        if at or shown or words:
            found.append(
                Person(
                    decode_words((shown if at else shown or words)[:MAX_SHOWN])[:MAX_SHOWN],
                    local.strip(),
                    domain.strip() if at else "",
                )
            )


def _end(text: str, place: int) -> int:
    """Where the quoted string or comment ends that begins at `place`; 0 when it does not end."""
    quoted = text[place] == '"'
    depth = 0
    at = place
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif quoted and char == '"' and at > place:
            return at
        elif not quoted and char in "()":
            depth += 1 if char == "(" else -1
            if not depth:
                return at
        at += 1
    return 0


def seen(shown: str) -> str:
    """A display name as it looks: without characters that nobody sees, look-alikes as the letter that they look like."""
    return fold(unicodedata.normalize("NFC", _UNSEEN.sub("", shown[:MAX_FIELD])))


def name_keys(shown: str) -> frozenset[frozenset[str]]:
    """The forms in which a name is compared: its words without order, case, accents, titles and look-alike letters.

    Two where the name has an umlaut, which some spell with an e; none for one word alone.
    """
    text = seen(shown).lower()
    keys = set()
    for table in (_PLAIN, _SPELLED) if not text.isascii() else (_PLAIN,):
        plain = unicodedata.normalize("NFKD", text.translate(table))
        words = _WORD.findall("".join(char for char in plain if not unicodedata.combining(char)))
        if len(words) <= MAX_WORDS:
            kept = frozenset(word for word in words if len(word) > 1 and word not in _ADDITIONS)
            if len(kept) > 1:
                keys.add(kept)
    return frozenset(keys)
