"""Owns Exchange's hashes of safe and blocked senders (msExchSafeSendersHash): how an entry may have become its four octets.

Four octets of SHA-256 for each entry, one after the other, are documented; what text is hashed and which octets are kept is not
(facts: exchange.md 4.2).  So every likely way is tried with an entry that is known.  Must not know where the attribute is read,
nor what a hit leads to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from filterd.directory.table import MAX_SENDERS

HASH_BYTES = 4  # "a 4-byte hash is produced" (facts: exchange.md 4.1)
MAX_OCTETS = HASH_BYTES * MAX_SENDERS
MAX_TEXT = 1_000  # characters of an address; RFC 5321 4.5.3.1 allows 320

CASES = ("as-is", "lower", "upper")
ENCODINGS = ("utf-16-le", "utf-8")
PREFIXES = ("none", "smtp:", "SMTP:")
WINDOWS = tuple(range(hashlib.sha256().digest_size // HASH_BYTES))
# A window is a number of 32 bits, which stands in the attribute as little-endian octets, like all numbers of Windows.  `kept`:
# the number was read from the digest in that order too, so the octets are those of the digest; `swapped`: the other way round.
ORDERS = ("kept", "swapped")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way in which an entry becomes four octets; the fields are members of the tables above."""

    case: str
    encoding: str
    prefix: str
    window: int
    order: str

    @property
    def name(self) -> str:
        """The variant as text, such as `lower/utf-16-le/none/0/kept`; `variant_named` reads it."""
        return f"{self.case}/{self.encoding}/{self.prefix}/{self.window}/{self.order}"

    def hash(self, text: str) -> bytes:
        """The four octets of an entry (an address, or `@domain`) as they stand in the attribute."""
        return self.part_of(_digest(text, self.case, self.encoding, self.prefix))

    def part_of(self, digest: bytes) -> bytes:
        """What is kept of the entry's digest."""
        part = digest[self.window * HASH_BYTES : (self.window + 1) * HASH_BYTES]
        return part if self.order == "kept" else part[::-1]

    def candidates(self, address: str) -> tuple[bytes, ...]:
        """The octets by which a list may mean `address`: itself and its domain, as `@domain` and `domain`.

        Where entries are hashed as they were typed, mail that spells the address otherwise is found by its lower case.
        """
        domain = address.rpartition("@")[2]
        texts = [address, f"@{domain}", domain]
        if self.case == "as-is":
            texts += [text.lower() for text in texts]
        return tuple(dict.fromkeys(self.hash(text) for text in texts))


VARIANTS = tuple(Variant(*choice) for choice in product(CASES, ENCODINGS, PREFIXES, WINDOWS, ORDERS))
_BY_NAME = {variant.name: variant for variant in VARIANTS}


def variant_named(name: str) -> Variant | None:
    """The variant with that name; None when there is none."""
    return _BY_NAME.get(name)


def entries(attribute: bytes) -> tuple[bytes, ...]:
    """The entries' octets in the order in which they stand; none when the attribute is not of this form."""
    if len(attribute) % HASH_BYTES or len(attribute) > MAX_OCTETS:
        return ()
    return tuple(attribute[at : at + HASH_BYTES] for at in range(0, len(attribute), HASH_BYTES))


def is_sorted(attribute: bytes) -> bool:
    """Whether the entries are unsigned little-endian numbers in ascending order, as Exchange is thought to write them."""
    numbers = [int.from_bytes(entry, "little") for entry in entries(attribute)]
    return all(one <= other for one, other in pairwise(numbers))


def calibrate(attribute: bytes, known: str) -> list[Variant]:
    """Every variant by which the attribute holds the entry `known`.

    By chance alone one does with a probability of 288 / 2^32 for each entry of the list: 7 in 100 million for one, 3 in 10,000
    for 5,000; a second known entry decides.
    """
    present = frozenset(entries(attribute))
    return list(_holding(present, known)) if present else []


def _holding(present: frozenset[bytes], known: str) -> Iterator[Variant]:
    digests = {choice: _digest(known, *choice) for choice in product(CASES, ENCODINGS, PREFIXES)}
    for variant in VARIANTS:
        if variant.part_of(digests[variant.case, variant.encoding, variant.prefix]) in present:
            yield variant


def tells_cases_apart(text: str) -> bool:
    """Whether the entry shows if it is hashed as it is or in another case: it needs a capital and a small letter."""
    return len({text, text.lower(), text.upper()}) == len(CASES)


def _digest(text: str, case: str, encoding: str, prefix: str) -> bytes:
    text = text[:MAX_TEXT]
    if case != "as-is":
        text = text.lower() if case == "lower" else text.upper()
    whole = text if prefix == "none" else prefix + text
    return hashlib.sha256(whole.encode(encoding, "surrogatepass")).digest()
