"""Owns the validation of Authenticated Received Chains.  RFC 8617 5.2.

Must not know what a chain or a sealer is worth, nor how a signature is computed (signature.py, body.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from filterd.auth.body import BodyWant, body_hashes
from filterd.auth.canonical import relaxed_field
from filterd.auth.signature import (
    Keys,
    MessageSignature,
    Signed,
    UnfitError,
    check_signature,
    fetch_keys,
    read_signature,
    read_signer,
    read_tags,
    usable_keys,
    without_value,
)
from filterd.auth.tags import TagError, number
from filterd.deadline import Deadline
from filterd.mail.evidence import Result
from filterd.mail.message import HeaderField, Message
from filterd.ports import Resolver

AAR, AMS, AS = "arc-authentication-results", "arc-message-signature", "arc-seal"
MAX_SETS = 50  # RFC 8617 5.2 step 1
MAX_KEY_NAMES = 20  # different keys of one chain that are asked for; real chains have up to five sealers
MAX_OLDER = 10  # AMS fields that are verified, the newest included, to find the oldest that passes (step 5 is optional)
_SHARED = "arc"  # where the message keeps the outcome
_INSTANCE = re.compile(r"[1-9][0-9]?")  # RFC 8617 4.2.1: 1 to 50
# RFC 8617 4.1.1, 4.2.1: the instance comes first; blanks and comments (RFC 5322 CFWS, not nested) may stand everywhere.
_CFWS = rb"(?:[ \t\r\n]|\([^()\\]*\))*"
_AAR = re.compile(_CFWS + rb"i" + _CFWS + rb"=" + _CFWS + rb"([1-9][0-9]?)" + _CFWS + rb";")


@dataclass(frozen=True, slots=True)
class ArcSet:
    """What one sealer added.

    Attributes:
        instance: 1 for the first sealer.
        domain: d= of the seal: who sealed.
        selector: s= of the seal.
        fields: its ARC-Authentication-Results, ARC-Message-Signature and ARC-Seal.
    """

    instance: int
    domain: str
    selector: str
    fields: tuple[HeaderField, HeaderField, HeaderField]

    @property
    def results(self) -> bytes:
        """What the sealer states it found: the payload of its ARC-Authentication-Results."""
        body = self.fields[0].body
        instance = _AAR.match(body)
        return body[instance.end() :] if instance else b""


@dataclass(frozen=True, slots=True)
class ArcOutcome:
    """What a message's chain says.

    Attributes:
        result: none; pass; fail (the chain is broken); temperror (there was no key now: RFC 8617 5.2.1 calls this fail too,
            but it says nothing about the chain).
        sets: oldest first; empty unless the result is pass.
        highest: the highest instance that was found, 0 for none.
        oldest_pass: the lowest instance whose message signature still verifies with all newer ones; 0 when all do (step 5).
        ended: the newest seal itself states cv=fail: nobody adds to this chain (RFC 8617 5.1.2).
        problem: why not pass; for the log.
    """

    result: Result
    sets: tuple[ArcSet, ...] = ()
    highest: int = 0
    oldest_pass: int = 0
    ended: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Field:
    """An AMS or AS with its tags."""

    header: HeaderField
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Set:
    """One complete set, its seal readable."""

    instance: int
    results: HeaderField
    message_signature: _Field
    seal: Signed


def chain_of(message: Message) -> ArcOutcome | None:
    """What `verify_arc` said of this message; None when it was not asked or has not ended."""
    found: ArcOutcome | None = message.shared.get(_SHARED)
    return found


async def verify_arc(resolver: Resolver, message: Message, now: int, deadline: Deadline) -> ArcOutcome:
    """RFC 8617 5.2.  `now` is Unix time in seconds.  Never raises; a key that cannot be had in time is temperror."""
    outcome = await _outcome(resolver, message, now, deadline)
    message.shared[_SHARED] = outcome
    return outcome


async def _outcome(resolver: Resolver, message: Message, now: int, deadline: Deadline) -> ArcOutcome:
    present = [message.all(name) for name in (AAR, AMS, AS)]
    if not any(present):
        return ArcOutcome(Result.NONE)
    if any(len(fields) > MAX_SETS for fields in present):
        return ArcOutcome(Result.FAIL, problem=f"more than {MAX_SETS} sets")
    highest, ended = 0, False
    try:
        seals = _by_instance(_with_tags(present[2]))
        highest = max(seals, default=0)
        ended = any(field.tags.get("cv", "").lower() == "fail" for field in seals.get(highest, ()))
        if ended:
            raise UnfitError(Result.FAIL, f"the sealer of instance {highest} found the chain broken (cv=fail)")
        sets = _complete(present[0], _by_instance(_with_tags(present[1])), seals)
        oldest_pass = await _verify(resolver, message, sets, now, deadline)
    except UnfitError as error:
        result = Result.TEMPERROR if error.result is Result.TEMPERROR else Result.FAIL
        return ArcOutcome(result, highest=highest, ended=ended, problem=str(error))
    found = tuple(
        ArcSet(s.instance, s.seal.domain, s.seal.selector, (s.results, s.message_signature.header, s.seal.header))
        for s in sets
    )
    return ArcOutcome(Result.PASS, found, highest, oldest_pass)


def _with_tags(fields: list[HeaderField]) -> list[_Field]:
    return [_Field(header, read_tags(header)) for header in fields]


def _by_instance(fields: list[_Field]) -> dict[int, list[_Field]]:
    """Raises UnfitError for a field that belongs to no set."""
    table: dict[int, list[_Field]] = {}
    for field in fields:
        instance = field.tags.get("i", "")
        if not _INSTANCE.fullmatch(instance) or int(instance) > MAX_SETS:
            raise UnfitError(Result.FAIL, f"{field.header.name} has no instance (i=)")
        table.setdefault(int(instance), []).append(field)
    return table


def _complete(
    results: list[HeaderField], signatures: dict[int, list[_Field]], seals: dict[int, list[_Field]]
) -> list[_Set]:
    """The sets, oldest first, if each is whole and none is missing.  Raises UnfitError.  Step 3."""
    stated: dict[int, list[HeaderField]] = {}
    for header in results:
        match = _AAR.match(header.body)
        if not match:
            raise UnfitError(Result.FAIL, f"{header.name} has no instance (i=)")
        stated.setdefault(int(match[1]), []).append(header)
    sets = []
    for instance in range(1, max(*stated, *signatures, *seals, 0, 0) + 1):
        parts = (stated.get(instance, []), signatures.get(instance, []), seals.get(instance, []))
        if any(len(fields) != 1 for fields in parts):
            raise UnfitError(Result.FAIL, f"instance {instance} is not one whole set")
        (aar,), (ams,), (seal,) = parts
        sets.append(_Set(instance, aar, ams, _seal(seal, instance)))
    return sets


def _seal(field: _Field, instance: int) -> Signed:
    """RFC 8617 4.1.3.  Raises UnfitError."""
    tags, where = field.tags, f"seal of instance {instance}: "
    missing = [name for name in ("a", "b", "cv", "d", "s") if not tags.get(name)]
    if missing:
        raise UnfitError(Result.FAIL, f"{where}no {'=, '.join(missing)}=")
    if "h" in tags:
        raise UnfitError(Result.FAIL, f"{where}h= is not allowed")
    if tags["cv"].lower() != ("none" if instance == 1 else "pass"):
        raise UnfitError(Result.FAIL, f"{where}cv={tags['cv'][:10]}")
    try:
        if "t" in tags:
            number(tags["t"])
        return read_signer(field.header, tags)
    except (TagError, UnfitError) as error:
        raise UnfitError(Result.FAIL, f"{where}{error}") from None


async def _verify(resolver: Resolver, message: Message, sets: list[_Set], now: int, deadline: Deadline) -> int:
    """oldest-pass, if the chain verifies.  Raises UnfitError.  Steps 4 to 6.

    Only the key of the newest message signature is asked for until it has verified: to put others to work costs a key.
    """
    newest, *older = _readable(message, sets, now)
    names = {newest.signed.key_name, *(item.seal.key_name for item in sets), *(s.signed.key_name for s in older)}
    if len(names) > MAX_KEY_NAMES:
        raise UnfitError(Result.FAIL, f"the chain needs more than {MAX_KEY_NAMES} keys")
    keys = await fetch_keys(resolver, [newest.signed.key_name], deadline)
    wants = {signature.body for signature in (newest, *older)}
    await _check(newest, keys, message, wants)
    keys |= await fetch_keys(resolver, names - keys.keys(), deadline)
    await _check_seals(sets, keys)
    lowest = len(sets)
    for signature in older:
        try:
            await _check(signature, keys, message, wants)
        except UnfitError:
            break
        lowest -= 1
    return 0 if lowest == 1 else lowest


def _readable(message: Message, sets: list[_Set], now: int) -> list[MessageSignature]:
    """The message signatures to verify, newest first, up to one that cannot be read; at least the newest."""
    signatures: list[MessageSignature] = []
    for item in sets[: -MAX_OLDER - 1 : -1]:
        field = item.message_signature
        try:
            signatures.append(read_signature(field.header, field.tags, message, now))
        except UnfitError as error:
            if not signatures:
                raise UnfitError(error.result, f"message signature of instance {item.instance}: {error}") from None
            break
    return signatures


async def _check(signature: MessageSignature, keys: Keys, message: Message, wants: set[BodyWant]) -> None:
    try:
        usable = usable_keys(signature.signed, keys[signature.signed.key_name])
        hashes = await body_hashes(message, {signature.body}, ahead=wants)
        check_signature(signature, usable, message, hashes[signature.body])
    except UnfitError as error:
        raise UnfitError(error.result, f"message signature of {signature.signed.domain}: {error}") from None


async def _check_seals(sets: list[_Set], keys: Keys) -> None:
    """Every seal, newest first.  Raises UnfitError: temperror only when no seal is known to be broken.  Step 6."""
    unknown: UnfitError | None = None
    for item, digest in reversed(list(zip(sets, _seal_hashes(sets), strict=True))):
        seal = item.seal
        await asyncio.sleep(0)  # a hostile key costs up to a millisecond, and there may be fifty
        try:
            usable = usable_keys(seal, keys[seal.key_name])
            if not any(key.verifies(seal.signature, digest, seal.hash_name) for key in usable):
                raise UnfitError(Result.FAIL, "does not verify")
        except UnfitError as error:
            problem = UnfitError(error.result, f"seal of instance {item.instance}: {error}")
            if error.result is not Result.TEMPERROR:
                raise problem from None
            unknown = problem
    if unknown is not None:
        raise unknown


def _seal_hashes(sets: list[_Set]) -> Iterator[bytes]:
    """What each seal signs: all sets up to its own, in order (RFC 8617 5.1.1); each field is hashed twice at most."""
    running = hashlib.sha256()
    for item in sets:
        for header in (item.results, item.message_signature.header):
            running.update(relaxed_field(header.name, header.raw))
        own = running.copy()
        own.update(without_value(item.seal.header, relaxed=True))
        yield own.digest()
        running.update(relaxed_field(item.seal.header.name, item.seal.header.raw))
