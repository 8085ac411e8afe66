"""Owns the verification of DKIM signatures.  RFC 6376, 8301, 8463; result words of RFC 8601 2.7.1.

Must not know what a signature is worth, nor where keys come from, nor how its parts are computed (signature.py, body.py).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from filterd.auth.body import body_hashes
from filterd.auth.dkim_key import PublicKey
from filterd.auth.names import ascii_domain, is_same_or_below
from filterd.auth.signature import (
    MessageSignature,
    UnfitError,
    body_wants,
    check_signature,
    fetch_keys,
    read_signature,
    read_tags,
    usable_keys,
    utf8,
)
from filterd.auth.tags import words
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.evidence import Result
from filterd.mail.message import HeaderField, Message
from filterd.ports import Resolver

MAX_SIGNATURES = 10  # topmost first; RFC 6376 6.1 lets a verifier choose a limit
_MAX_SEALS = 10  # ARC-Message-Signature fields whose body hashes are computed along


@dataclass(frozen=True, slots=True)
class DkimOutcome:
    """What one signature says.

    Attributes:
        result: pass; fail (does not verify); policy (verifies or might, but is not acceptable here: weak algorithm or key,
            expired, unsigned From or body octets, out of bounds); neutral (cannot be read, or asks for what is unknown);
            permerror (no usable key, or something required is missing); temperror (no key now).
        domain: d=, lower-case A-labels; empty when the signature does not say.
        selector: s=.
        identity: i=, or @d= when absent.
        algorithm: a=.
        problem: why not pass; for the log.
        testing: the key's owner only tries (t=y): what does not pass counts as not signed (RFC 6376 3.6.1).
    """

    result: Result
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    problem: str = ""
    testing: bool = False


@dataclass(slots=True)
class _Pending:
    """One signature on its way to its outcome: `signature` is gone when it is decided, `keys` come with the answers."""

    outcome: DkimOutcome
    signature: MessageSignature | None = None
    keys: list[PublicKey] = field(default_factory=list)

    def decide(self, error: UnfitError) -> None:
        self.outcome = replace(self.outcome, result=error.result, problem=str(error))
        self.signature = None


async def verify_dkim(resolver: Resolver, message: Message, now: int, deadline: Deadline) -> list[DkimOutcome]:
    """One outcome per DKIM-Signature field, topmost first, at most MAX_SIGNATURES; empty when there is none.

    `now` is Unix time in seconds.  Never raises; a key that cannot be had in time is temperror.
    """
    found = [_read(header, message, now) for header in message.all("dkim-signature")[:MAX_SIGNATURES]]
    answers = await fetch_keys(resolver, [s.signed.key_name for s in _signatures(found)], deadline)
    for item in found:
        if item.signature is not None:
            _take_keys(item, item.signature, answers[item.signature.signed.key_name])
    wants = {signature.body for signature in _signatures(found)}
    ahead = body_wants(message.all("arc-message-signature")[:_MAX_SEALS]) if wants else set()
    hashes = await body_hashes(message, wants, ahead)
    for index, item in enumerate(found):
        if item.signature is not None:
            if index:
                await asyncio.sleep(0)  # large headers and hostile keys cost milliseconds
            try:
                check_signature(item.signature, item.keys, message, hashes[item.signature.body])
            except UnfitError as error:
                item.decide(error)
            else:
                item.outcome = replace(item.outcome, result=Result.PASS)
    return [item.outcome for item in found]


def _signatures(found: list[_Pending]) -> list[MessageSignature]:
    return [item.signature for item in found if item.signature is not None]


def _read(header: HeaderField, message: Message, now: int) -> _Pending:
    """RFC 6376 6.1.1."""
    pending = _Pending(DkimOutcome(Result.NEUTRAL))
    try:
        tags = read_tags(header)
        domain = ascii_domain(utf8(tags.get("d", ""))) or ""
        selector = ascii_domain(utf8(tags.get("s", ""))) or ""
        identity = utf8(tags.get("i", f"@{domain}" if domain else ""))
        pending.outcome = DkimOutcome(Result.NEUTRAL, domain, selector, identity[:320], tags.get("a", "").lower()[:40])
        if "v" not in tags:
            raise UnfitError(Result.PERMERROR, "signature: no v=")
        if tags["v"] != "1":
            raise UnfitError(Result.NEUTRAL, "unknown version (v=)")
        if "dns/txt" not in words(tags.get("q", "dns/txt")):
            raise UnfitError(Result.NEUTRAL, "unknown query method (q=)")
        pending.signature = read_signature(header, tags, message, now)
        at_domain = ascii_domain(identity.rpartition("@")[2])
        if at_domain is None or "@" not in identity or not is_same_or_below(at_domain, domain):
            raise UnfitError(Result.PERMERROR, "i= is not in d=")
    except UnfitError as error:
        pending.decide(error)
    return pending


def _take_keys(item: _Pending, signature: MessageSignature, records: list[str] | TemporaryError) -> None:
    """RFC 6376 6.1.2."""
    at_domain = ascii_domain(item.outcome.identity.rpartition("@")[2])

    def identity_allowed(key: PublicKey) -> str:
        exact = key.exact_identity and at_domain != item.outcome.domain
        return "key allows no subdomain in i= (t=s)" if exact else ""

    try:
        item.keys = usable_keys(signature.signed, records, identity_allowed)
    except UnfitError as error:
        item.decide(error)
    else:
        item.outcome = replace(item.outcome, testing=all(key.testing for key in item.keys))
