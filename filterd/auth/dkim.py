"""Owns the verification of DKIM signatures.  RFC 6376, 8301, 8463; result words of RFC 8601 2.7.1.

Must not know what a signature is worth, nor where keys come from.  Every bound is a constant here or in dkim_key.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from filterd.auth.canonical import feed, relaxed_body, relaxed_field, simple_body, simple_field
from filterd.auth.dkim_key import PublicKey, UnusableKeyError, WeakKeyError, parse_key
from filterd.auth.names import ascii_domain, is_same_or_below
from filterd.auth.tags import TagError, number, parse_tags, without_blanks, words
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.evidence import Result
from filterd.mail.message import HeaderField, Message, Octets
from filterd.ports import Resolver

MAX_SIGNATURES = 10  # topmost first; RFC 6376 6.1 lets a verifier choose a limit
MAX_FIELD = 16_384  # octets of one DKIM-Signature; the longest real ones (z=) have a few thousand
MAX_KEYS = 3  # key records at one name that are tried; RFC 6376 3.6.2.2 leaves more than one undefined
# algorithm -> (key type, hash).  rsa-sha1 is not here: RFC 8301 3.1.
ALGORITHMS = {"rsa-sha256": ("rsa", "sha256"), "ed25519-sha256": ("ed25519", "sha256")}
_CANONICALISATIONS = ("simple", "relaxed")
_B_TAG = re.compile(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")


@dataclass(frozen=True, slots=True)
class DkimOutcome:
    """What one signature says.

    Attributes:
        result: pass; fail (does not verify), policy (verifies or might, but is not acceptable here: weak algorithm or key,
            unsigned From or body octets), permerror (cannot be used), temperror (no key now).
        domain: d=, lower-case A-labels; empty when the signature does not say.
        selector: s=.
        identity: i=, or @d= when absent.
        algorithm: a=.
        problem: why not pass; for the log.
    """

    result: Result
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    problem: str = ""


@dataclass(slots=True)
class _Signature:
    """A signature field whose tags are all usable."""

    header: HeaderField
    domain: str
    selector: str
    identity: str
    algorithm: str
    key_type: str
    hash_name: str
    relaxed_header: bool
    relaxed_body: bool
    names: list[str]
    signature: bytes
    body_hash: bytes
    length: int | None

    def outcome(self, result: Result, problem: str = "") -> DkimOutcome:
        return DkimOutcome(result, self.domain, self.selector, self.identity, self.algorithm, problem)


@dataclass(slots=True)
class _Body:
    """Body hashes of one message, each computed once."""

    octets: Octets
    start: int
    hashes: dict[tuple[bool, str, int | None], tuple[bytes, int, int]] = field(default_factory=dict)

    async def hash(self, relaxed: bool, hash_name: str, length: int | None) -> tuple[bytes, int, int]:
        """(digest, octets it covers, octets there are)."""
        key = (relaxed, hash_name, length)
        if key not in self.hashes:
            digest = hashlib.new(hash_name, usedforsecurity=False)
            pieces: Iterator[bytes] = (relaxed_body if relaxed else simple_body)(self.octets, self.start)
            given, total = await feed(pieces, digest, length)
            self.hashes[key] = (digest.digest(), given, total)
        return self.hashes[key]


async def verify_dkim(resolver: Resolver, message: Message, now: int, deadline: Deadline) -> list[DkimOutcome]:
    """One outcome per DKIM-Signature field, topmost first, at most MAX_SIGNATURES; empty when there is none.

    `now` is Unix time in seconds.  Never raises; a key that cannot be had in time is temperror.
    """
    fields = message.all("dkim-signature")[:MAX_SIGNATURES]
    parsed = [_parse(header, message, now) for header in fields]
    signatures = [item for item in parsed if isinstance(item, _Signature)]
    names = sorted({f"{s.selector}._domainkey.{s.domain}" for s in signatures})
    answers = await asyncio.gather(*(_keys(resolver, name, deadline) for name in names))
    keys = dict(zip(names, answers, strict=True))
    body = _Body(message.octets, message.body_start)
    outcomes: list[DkimOutcome] = []
    for item in parsed:
        if isinstance(item, _Signature):
            item = await _verify(item, keys[f"{item.selector}._domainkey.{item.domain}"], message, body)
        outcomes.append(item)
    return outcomes


async def _keys(resolver: Resolver, name: str, deadline: Deadline) -> list[str] | TemporaryError:
    try:
        return list((await resolver.query(name, "TXT", deadline)).records)
    except TemporaryError as error:
        return error


def _parse(header: HeaderField, message: Message, now: int) -> _Signature | DkimOutcome:
    if len(header.raw) > MAX_FIELD:
        return DkimOutcome(Result.PERMERROR, problem=f"signature field is longer than {MAX_FIELD} octets")
    try:
        tags = parse_tags(header.body.decode("latin-1"))
    except TagError as error:
        return DkimOutcome(Result.PERMERROR, problem=f"signature: {error}")
    domain = ascii_domain(_utf8(tags.get("d", ""))) or ""
    selector = ascii_domain(_utf8(tags.get("s", ""))) or ""
    algorithm = tags.get("a", "").lower()
    identity = _utf8(tags.get("i", "@" + domain))
    known = DkimOutcome(Result.PERMERROR, domain, selector, identity[:320], algorithm[:40])
    missing = [name for name in ("v", "a", "b", "bh", "d", "h", "s") if not tags.get(name)]
    try:
        if missing:
            raise TagError(f"no {'=, '.join(missing)}=")
        return _checked(header, message, tags, known, now)
    except TagError as error:
        return _with_problem(known, Result.PERMERROR, f"signature: {error}")
    except WeakKeyError as error:
        return _with_problem(known, Result.POLICY, str(error))


def _checked(header: HeaderField, message: Message, tags: dict[str, str], known: DkimOutcome, now: int) -> _Signature:
    """The signature, if every tag is usable.  Raises TagError (permerror) or WeakKeyError (policy).  RFC 6376 6.1.1."""
    if tags["v"] != "1":
        raise TagError("unknown version")
    if not known.domain or not known.selector or len(known.domain) + len(known.selector) > 240:
        raise TagError("d= or s= is no domain name")
    at_domain = ascii_domain(known.identity.rpartition("@")[2])
    if at_domain is None or "@" not in known.identity or not is_same_or_below(at_domain, known.domain):
        raise TagError("i= is not in d=")
    if "dns/txt" not in words(tags.get("q", "dns/txt")):
        raise TagError("unknown query method (q=)")
    header_c, _, body_c = tags.get("c", "simple/simple").lower().partition("/")
    body_c = body_c or "simple"
    if header_c not in _CANONICALISATIONS or body_c not in _CANONICALISATIONS:
        raise TagError("unknown canonicalisation (c=)")
    names = words(tags["h"])
    if "from" not in names:
        raise TagError("From is not signed (h=)")
    if not message.all("from"):
        raise TagError("the message has no From")
    _check_times(tags, now)
    length = number(tags["l"]) if "l" in tags else None
    if known.algorithm == "rsa-sha1" and known.algorithm not in ALGORITHMS:
        raise WeakKeyError("rsa-sha1 is not accepted (RFC 8301)")
    if known.algorithm not in ALGORITHMS:
        raise TagError("unknown algorithm (a=)")
    key_type, hash_name = ALGORITHMS[known.algorithm]
    try:
        signature = base64.b64decode(without_blanks(tags["b"]), validate=True)
        body_hash = base64.b64decode(without_blanks(tags["bh"]), validate=True)
    except (binascii.Error, ValueError):
        raise TagError("b= or bh= is not base64") from None
    return _Signature(
        header, known.domain, known.selector, known.identity, known.algorithm, key_type, hash_name,
        header_c == "relaxed", body_c == "relaxed", names, signature, body_hash, length,
    )  # fmt: skip


def _check_times(tags: dict[str, str], now: int) -> None:
    signed = number(tags["t"]) if "t" in tags else None
    if "x" not in tags:
        return
    expires = number(tags["x"])
    if signed is not None and expires <= signed:
        raise TagError("expires before it was made (x=, t=)")
    if now > expires:
        raise TagError("has expired (x=)")


def _utf8(value: str) -> str:
    """A tag value that may be written in UTF-8 (RFC 8616)."""
    return value.encode("latin-1").decode("utf-8", "replace")


def _with_problem(known: DkimOutcome, result: Result, problem: str) -> DkimOutcome:
    return DkimOutcome(result, known.domain, known.selector, known.identity, known.algorithm, problem)


async def _verify(
    signature: _Signature, records: list[str] | TemporaryError, message: Message, body: _Body
) -> DkimOutcome:
    """RFC 6376 6.1.2 and 6.1.3: the key, then the body hash, then the signature."""
    if isinstance(records, TemporaryError):
        return signature.outcome(Result.TEMPERROR, f"no key now: {records}")
    keys: list[PublicKey] = []
    refused: tuple[Result, str] = (Result.PERMERROR, "no key record")
    for record in records[:MAX_KEYS]:
        try:
            keys.append(_usable(parse_key(record), signature))
        except UnusableKeyError as error:
            refused = (Result.PERMERROR, str(error))
        except WeakKeyError as error:
            refused = (Result.POLICY, str(error))
    if not keys:
        return signature.outcome(*refused)
    digest, given, total = await body.hash(signature.relaxed_body, signature.hash_name, signature.length)
    if signature.length is not None and given < signature.length:
        return signature.outcome(Result.PERMERROR, "l= is more than the body has")
    if digest != signature.body_hash:
        return signature.outcome(Result.FAIL, "body has changed since it was signed")
    header_hash = _header_hash(signature, message)
    if not any(key.verifies(signature.signature, header_hash, signature.hash_name) for key in keys):
        return signature.outcome(Result.FAIL, "signature does not verify")
    if total > given:
        return signature.outcome(Result.POLICY, f"{total - given} octets of the body are not signed (l=)")
    if len(message.all("from")) > signature.names.count("from"):
        return signature.outcome(Result.POLICY, "one of several From fields is not signed")
    return signature.outcome(Result.PASS)


def _usable(key: PublicKey, signature: _Signature) -> PublicKey:
    """The key, if it may verify this signature.  Raises UnusableKeyError."""
    if key.kind != signature.key_type:
        raise UnusableKeyError(f"key is {key.kind}, signature is {signature.algorithm}")
    if key.hashes and signature.hash_name not in key.hashes:
        raise UnusableKeyError("key does not allow this hash (h=)")
    at_domain = ascii_domain(signature.identity.rpartition("@")[2])
    if key.exact_identity and at_domain != signature.domain:
        raise UnusableKeyError("key allows no subdomain in i= (t=s)")
    return key


def _header_hash(signature: _Signature, message: Message) -> bytes:
    """RFC 6376 3.7: the named fields from the bottom up, then the signature field without the value of b=."""
    digest = hashlib.new(signature.hash_name, usedforsecurity=False)
    used: dict[str, int] = {}
    for name in signature.names:
        fields = message.all(name)
        used[name] = used.get(name, 0) + 1
        if used[name] > len(fields):
            continue  # signed as absent (RFC 6376 5.4)
        header = fields[-used[name]]
        digest.update(relaxed_field(name, header.raw) if signature.relaxed_header else simple_field(header.raw))
    own = signature.header
    before, colon, after = own.raw.partition(b":")
    blank = before + colon + _B_TAG.sub(rb"\1", after.removesuffix(b"\r\n"))
    digest.update((relaxed_field(own.name, blank) if signature.relaxed_header else blank).removesuffix(b"\r\n"))
    return digest.digest()
