"""Owns the body hashes of one message: every signature's, DKIM's and ARC's, from one walk over the body.  RFC 6376 3.7.

Each canonical form is made once and feeds one running digest per hash; where an l= ends, the digest is copied, so that many
signatures cost what one of each form costs.  Must not know how a signature is verified.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from filterd.auth.canonical import CanonicalBody
from filterd.auth.tags import TagError, number
from filterd.mail.message import Message, Octets

CHUNK = 65_536  # octets per step: about 0.3 ms of work for each form
_BREATH = 4 * CHUNK  # octets of the body after which other sessions get their turn
_FORMS = ("simple", "relaxed")
_SHARED = "body hashes"  # where the message keeps them


@dataclass(frozen=True, slots=True)
class BodyWant:
    """Which hash of the body a signature states: canonical form, hash, and l= (None: the whole body)."""

    relaxed: bool
    hash_name: str
    length: int | None = None


@dataclass(frozen=True, slots=True)
class BodyHash:
    """A digest, the octets of the canonical body it covers, and the octets there are."""

    digest: bytes
    covered: int
    total: int


def canonicalisation(tags: dict[str, str], hash_name: str) -> tuple[bool, BodyWant]:
    """(header fields are relaxed, what is wanted of the body) of c= and l=.  Raises TagError.  RFC 6376 3.5."""
    header, _, body = tags.get("c", "simple/simple").lower().partition("/")
    body = body or "simple"
    if header not in _FORMS or body not in _FORMS:
        raise TagError("unknown canonicalisation (c=)")
    length = number(tags["l"]) if "l" in tags else None
    return header == "relaxed", BodyWant(body == "relaxed", hash_name, length)


async def body_hashes(
    message: Message, wants: Iterable[BodyWant], ahead: Iterable[BodyWant] = ()
) -> dict[BodyWant, BodyHash]:
    """At least the hashes in `wants`; lets other tasks run meanwhile.

    What was computed for the message before is not computed again.  `ahead` is what somebody else may ask for later: it is
    taken along when the body is read anyway.
    """
    known: dict[BodyWant, BodyHash] = message.shared.setdefault(_SHARED, {})
    if not known.keys() >= set(wants):
        for _ in walk(message.octets, message.body_start, {*wants, *ahead} - known.keys(), known):
            await asyncio.sleep(0)
    return known


def walk(octets: Octets, start: int, wants: Iterable[BodyWant], found: dict[BodyWant, BodyHash]) -> Iterator[None]:
    """Puts the hash of the body from `start` on for each of `wants` into `found`; stops now and then to take breath."""
    wanted = set(wants)
    streams = [_Stream(relaxed, wanted) for relaxed in sorted({want.relaxed for want in wanted})]
    for position in range(start, len(octets), CHUNK):
        piece = bytes(octets[position : position + CHUNK])
        for stream in streams:
            stream.feed(piece)
        if (position - start) % _BREATH == _BREATH - CHUNK:
            yield
    for stream in streams:
        found.update(stream.end())


class _Stream:
    """One canonical form with its digests; `_marks` are the lengths still to come at which they are copied."""

    def __init__(self, relaxed: bool, wants: set[BodyWant]) -> None:
        mine = [want for want in wants if want.relaxed == relaxed]
        self._form = CanonicalBody(relaxed)
        self._whole = [want for want in mine if want.length is None]
        self._marks = sorted(
            ((want.length, want) for want in mine if want.length is not None), key=lambda mark: mark[0], reverse=True
        )
        self._digests = {want.hash_name: hashlib.new(want.hash_name, usedforsecurity=False) for want in mine}
        self._covered: list[tuple[BodyWant, bytes, int]] = []
        self._total = 0

    def feed(self, piece: bytes) -> None:
        for canonical in self._form.feed(piece):
            self._take(canonical)

    def end(self) -> dict[BodyWant, BodyHash]:
        for canonical in self._form.end():
            self._take(canonical)
        for want in [*self._whole, *(want for _, want in self._marks)]:
            self._note(want)
        return {want: BodyHash(digest, covered, self._total) for want, digest, covered in self._covered}

    def _take(self, data: bytes) -> None:
        while self._marks and self._marks[-1][0] <= self._total + len(data):
            length, want = self._marks.pop()
            head, data = data[: length - self._total], data[length - self._total :]
            self._update(head)
            self._note(want)
        if self._marks or self._whole:
            self._update(data)
        else:
            self._total += len(data)  # not signed by anybody

    def _update(self, data: bytes) -> None:
        for digest in self._digests.values():
            digest.update(data)
        self._total += len(data)

    def _note(self, want: BodyWant) -> None:
        self._covered.append((want, self._digests[want.hash_name].copy().digest(), self._total))
