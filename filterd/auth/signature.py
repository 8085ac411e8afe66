"""Owns what DKIM-Signature, ARC-Message-Signature and ARC-Seal have in common: tags, key, header hash.  RFC 6376 3.5, 6.1.

Must not know what a signature is worth, nor where keys come from.  Every bound is a constant here or in dkim_key.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from filterd.auth.body import BodyHash, BodyWant, canonicalisation
from filterd.auth.canonical import relaxed_field, simple_field
from filterd.auth.dkim_key import PublicKey, UnusableKeyError, WeakKeyError, parse_key
from filterd.auth.names import ascii_domain
from filterd.auth.tags import TagError, number, parse_tags, without_blanks, words
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.evidence import Result
from filterd.mail.message import HeaderField, Message
from filterd.ports import Resolver

MAX_FIELD = 16_384  # octets of one signature field; the longest real ones (z=) have a few thousand
MAX_NAMES = 500  # names in h=; real lists have up to 60, over-signing included
MAX_KEYS = 3  # key records at one name that are tried; RFC 6376 3.6.2.2 leaves more than one undefined
MAX_KEY_NAME = 240  # characters of d= and s= together
TOLERANCE = 300  # seconds after x= in which clocks may differ (RFC 6376 3.5: receivers may add a "fudge factor")
# algorithm -> (key type, hash).  rsa-sha1 is not here: RFC 8301 3.1.
ALGORITHMS = {"rsa-sha256": ("rsa", "sha256"), "ed25519-sha256": ("ed25519", "sha256")}
_B_TAG = re.compile(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_SHARED = "relaxed fields"  # where the message keeps its canonical fields

Keys = dict[str, list[str] | TemporaryError]


class UnfitError(ValueError):
    """The signature is not verified, or not accepted; `result` is the word of RFC 8601 2.7.1."""

    def __init__(self, result: Result, text: str) -> None:
        super().__init__(text)
        self.result = result


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed, and how."""

    header: HeaderField
    domain: str
    selector: str
    algorithm: str
    key_type: str
    hash_name: str
    signature: bytes

    @property
    def key_name(self) -> str:
        """Where the key stands in DNS (RFC 6376 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class MessageSignature:
    """A signature over header fields and body whose tags are all usable."""

    signed: Signed
    relaxed_header: bool
    names: tuple[str, ...]
    body: BodyWant
    body_hash: bytes


def read_tags(header: HeaderField) -> dict[str, str]:
    """The tag list of a signature field.  Raises UnfitError."""
    if len(header.raw) > MAX_FIELD:
        raise UnfitError(Result.POLICY, f"signature field is longer than {MAX_FIELD} octets")
    try:
        return parse_tags(header.body.decode("latin-1"))
    except TagError as error:
        raise UnfitError(Result.NEUTRAL, f"signature: {error}") from None


def utf8(value: str) -> str:
    """A tag value that may be written in UTF-8 (RFC 8616)."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def read_signer(header: HeaderField, tags: dict[str, str]) -> Signed:
    """a=, b=, d=, s= of a field that has them.  Raises UnfitError."""
    domain, selector = ascii_domain(utf8(tags["d"])), ascii_domain(utf8(tags["s"]))
    if not domain or not selector or len(domain) + len(selector) > MAX_KEY_NAME:
        raise UnfitError(Result.NEUTRAL, "d= or s= is no domain name")
    algorithm = tags["a"].lower()
    if algorithm not in ALGORITHMS:
        if algorithm == "rsa-sha1":
            raise UnfitError(Result.POLICY, "rsa-sha1 is not accepted (RFC 8301)")
        raise UnfitError(Result.NEUTRAL, "unknown algorithm (a=)")
    key_type, hash_name = ALGORITHMS[algorithm]
    return Signed(header, domain, selector, algorithm, key_type, hash_name, _base64("b", tags))


def read_signature(header: HeaderField, tags: dict[str, str], message: Message, now: int) -> MessageSignature:
    """What DKIM-Signature and ARC-Message-Signature share (RFC 6376 6.1.1, RFC 8617 4.1.2).  Raises UnfitError."""
    missing = [name for name in ("a", "b", "bh", "d", "h", "s") if not tags.get(name)]
    if missing:
        raise UnfitError(Result.PERMERROR, f"signature: no {'=, '.join(missing)}=")
    signed = read_signer(header, tags)
    try:
        relaxed_header, body = canonicalisation(tags, signed.hash_name)
        _check_times(tags, now)
    except TagError as error:
        raise UnfitError(Result.NEUTRAL, f"signature: {error}") from None
    names = words(tags["h"])
    if "from" not in names:
        raise UnfitError(Result.PERMERROR, "From is not signed (h=)")
    if len(names) > MAX_NAMES:
        raise UnfitError(Result.POLICY, f"more than {MAX_NAMES} names are signed (h=)")
    if not message.all("from"):
        raise UnfitError(Result.PERMERROR, "the message has no From")
    return MessageSignature(signed, relaxed_header, tuple(names), body, _base64("bh", tags))


def _base64(name: str, tags: dict[str, str]) -> bytes:
    try:
        return base64.b64decode(without_blanks(tags[name]), validate=True)
    except (binascii.Error, ValueError):
        raise UnfitError(Result.NEUTRAL, f"{name}= is not base64") from None


def _check_times(tags: dict[str, str], now: int) -> None:
    """t= and x=.  A t= in the future is no reason to doubt: RFC 6376 3.5 leaves it to us, and it is a clock that is wrong."""
    signed = number(tags["t"]) if "t" in tags else None
    if "x" not in tags:
        return
    expires = number(tags["x"])
    if signed is not None and expires <= signed:
        raise TagError("expires before it was made (x=, t=)")
    if now > expires + TOLERANCE:
        raise UnfitError(Result.POLICY, "has expired (x=)")


def body_wants(fields: Iterable[HeaderField]) -> set[BodyWant]:
    """What these signature fields may ask of the body, as far as they can be read."""
    wants = set()
    for header in fields:
        try:
            tags = read_tags(header)
            wants.add(canonicalisation(tags, ALGORITHMS[tags.get("a", "").lower()][1])[1])
        except (UnfitError, TagError, KeyError):
            continue  # what is wrong with it is said by who verifies it
    return wants


async def fetch_keys(resolver: Resolver, names: Iterable[str], deadline: Deadline) -> Keys:
    """The TXT records at these names, asked for together; a TemporaryError where there was no answer in time."""
    wanted = sorted(set(names))
    if len(wanted) == 1:  # nearly every message: no task is needed
        return {wanted[0]: await _records(resolver, wanted[0], deadline)}
    answers = await asyncio.gather(*(_records(resolver, name, deadline) for name in wanted))
    return dict(zip(wanted, answers, strict=True))


async def _records(resolver: Resolver, name: str, deadline: Deadline) -> list[str] | TemporaryError:
    try:
        return list((await resolver.query(name, "TXT", deadline)).records)
    except TemporaryError as error:
        return error


def usable_keys(
    signed: Signed, records: list[str] | TemporaryError, may: Callable[[PublicKey], str] = lambda _: ""
) -> list[PublicKey]:
    """The keys that may verify this, at least one.  Raises UnfitError.  RFC 6376 6.1.2.

    `may` says what else speaks against a key; empty for nothing.
    """
    if isinstance(records, TemporaryError):
        raise UnfitError(Result.TEMPERROR, f"no key now: {records}")
    keys: list[PublicKey] = []
    refused = UnfitError(Result.PERMERROR, "no key record")
    for record in records[:MAX_KEYS]:
        try:
            key = parse_key(record)
        except UnusableKeyError as error:
            refused = UnfitError(Result.PERMERROR, str(error))
            continue
        except WeakKeyError as error:
            refused = UnfitError(Result.POLICY, str(error))
            continue
        problem = may(key)
        if key.kind != signed.key_type:
            problem = f"key is {key.kind}, signature is {signed.algorithm}"
        elif key.hashes and signed.hash_name not in key.hashes:
            problem = "key does not allow this hash (h=)"
        if problem:
            refused = UnfitError(Result.PERMERROR, problem)
        else:
            keys.append(key)
    if not keys:
        raise refused
    return keys


def check_signature(signature: MessageSignature, keys: Iterable[PublicKey], message: Message, body: BodyHash) -> None:
    """The body hash, then the signature, then whether what it leaves unsigned is acceptable.  Raises UnfitError.

    RFC 6376 6.1.3; 8.2 (l=), 8.15 (a second From) and 3.8 (what is no valid message) for what is not acceptable.
    """
    length = signature.body.length
    if length is not None and body.covered < length:
        raise UnfitError(Result.PERMERROR, "l= is more than the body has")
    if body.digest != signature.body_hash:
        raise UnfitError(Result.FAIL, "body has changed since it was signed")
    signed = signature.signed
    digest = header_hash(message, signature.names, signed.header, signature.relaxed_header, signed.hash_name)
    if not any(key.verifies(signed.signature, digest, signed.hash_name) for key in keys):
        raise UnfitError(Result.FAIL, "signature does not verify")
    if body.total > body.covered:
        raise UnfitError(Result.POLICY, f"{body.total - body.covered} octets of the body are not signed (l=)")
    if len(message.all("from")) > signature.names.count("from"):
        raise UnfitError(Result.POLICY, "one of several From fields is not signed")
    if message.ends_early:  # anybody can put text there, above the body that was signed
        raise UnfitError(Result.POLICY, "a line of the header is no field; where the body begins is not signed")


def header_hash(message: Message, names: Iterable[str], own: HeaderField, relaxed: bool, hash_name: str) -> bytes:
    """RFC 6376 3.7: the named fields from the bottom up, then the signature field without the value of b=.

    A field is made canonical once for all signatures of the message.
    """
    digest = hashlib.new(hash_name, usedforsecurity=False)
    canonical: dict[int, bytes] = message.shared.setdefault(_SHARED, {}) if relaxed else {}
    used: dict[str, int] = {}
    for name in names:
        fields = message.all(name)
        used[name] = used.get(name, 0) + 1
        if used[name] > len(fields):
            continue  # signed as absent (RFC 6376 5.4)
        header = fields[-used[name]]
        if not relaxed:
            digest.update(simple_field(header.raw))
            continue
        if header.start not in canonical:
            canonical[header.start] = relaxed_field(name, header.raw)
        digest.update(canonical[header.start])
    digest.update(without_value(own, relaxed))
    return digest.digest()


def without_value(header: HeaderField, relaxed: bool) -> bytes:
    """A signature field as it signs itself: the value of b= empty, no CRLF at the end."""
    before, colon, after = header.raw.partition(b":")
    blank = before + colon + _B_TAG.sub(rb"\1", after.removesuffix(b"\r\n"))
    return (relaxed_field(header.name, blank) if relaxed else blank).removesuffix(b"\r\n")
