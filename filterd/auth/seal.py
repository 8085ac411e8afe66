"""Owns signing: ARC sets of our own, and DKIM signatures of what we write.  RFC 8617 5.1, RFC 6376 5, RFC 8301, RFC 8463.

What is signed is always relaxed/relaxed with SHA-256.  Must not know whether to sign, nor what is stated about the message.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from filterd.auth.arc import AAR, AMS, AS, MAX_SETS, ArcOutcome
from filterd.auth.body import BodyHash, BodyWant, body_hashes, walk
from filterd.auth.canonical import relaxed_field
from filterd.auth.dkim_key import MAX_RSA_BITS, MIN_RSA_BITS
from filterd.auth.names import ascii_domain
from filterd.auth.signature import header_hash
from filterd.mail.evidence import Result
from filterd.mail.message import HeaderField, Message

LINE = 76  # octets after which a tag begins a new line (RFC 5322 2.1.1: 78)
# RFC 6376 5.4.1, without what a hop on the way may replace (Received, Return-Path; for ARC: Authentication-Results).
NAMES = (
    *("from", "reply-to", "subject", "date", "to", "cc", "resent-date", "resent-from", "resent-to", "resent-cc"),
    *("in-reply-to", "references", "message-id", "mime-version", "content-type", "content-transfer-encoding"),
    *("list-id", "list-help", "list-unsubscribe", "list-subscribe", "list-post", "list-owner", "list-archive"),
    *("list-unsubscribe-post", "dkim-signature"),
)
_MAX_OF_A_NAME = 10  # fields of one name that are signed
_BODY = BodyWant(relaxed=True, hash_name="sha256")


class UnusableSignerError(ValueError):
    """The private key, domain or selector cannot sign mail; the message says why."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: d=, s=, and the private key of the record at selector._domainkey.domain."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        """a=."""
        return "rsa-sha256" if isinstance(self.key, RSAPrivateKey) else "ed25519-sha256"

    def sign(self, digest: bytes) -> str:
        """b= of the header with this SHA-256 digest, in base64."""
        if isinstance(self.key, RSAPrivateKey):
            return base64.b64encode(self.key.sign(digest, PKCS1v15(), Prehashed(SHA256()))).decode()
        return base64.b64encode(self.key.sign(digest)).decode()


def load_signer(domain: str, selector: str, pem: bytes) -> Signer:
    """The signer with the private key in a PEM file's content.  Raises UnusableSignerError."""
    names = ascii_domain(domain), ascii_domain(selector)
    if not names[0] or not names[1]:
        raise UnusableSignerError(f"{domain!r} or {selector!r} is no domain name")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # the library's own text is about the library
        raise UnusableSignerError("not a private key in PEM form without password") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise UnusableSignerError("the key is neither RSA nor Ed25519")
    if isinstance(key, RSAPrivateKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise UnusableSignerError(f"RSA key of {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")
    return Signer(names[0], names[1], key)


def sign_dkim(octets: bytes, signer: Signer, now: int, names: Sequence[str] = ()) -> bytes:
    """The DKIM-Signature field for a message of ours, to stand before it.  `now` is Unix time in seconds.

    `names` is h=; without it, what stands in the message of NAMES, and one From more, so that none can be added.
    """
    message = Message(octets)
    found: dict[BodyWant, BodyHash] = {}
    for _ in walk(octets, message.body_start, {_BODY}, found):
        pass  # what we write ourselves is small
    return _dkim_signature(message, signer, found[_BODY], now, names)


async def sign_message(message: Message, signers: Sequence[Signer], now: int) -> bytes:
    """A DKIM-Signature field of each signer for a message that others wrote, to stand before it; `now` as for `sign_dkim`.

    The body is read once for all, and other tasks run meanwhile.
    """
    if not signers:
        return b""
    body = (await body_hashes(message, {_BODY}))[_BODY]
    return b"".join(_dkim_signature(message, signer, body, now) for signer in signers)


def _dkim_signature(message: Message, signer: Signer, body: BodyHash, now: int, names: Sequence[str] = ()) -> bytes:
    names = names or _present(message)
    tags = [("v", "1"), ("a", signer.algorithm), ("c", "relaxed/relaxed"), ("d", signer.domain), ("s", signer.selector)]
    tags += [("t", str(now)), ("h", ":".join(names)), ("bh", _encoded(body.digest)), ("b", "")]
    return _message_signature("DKIM-Signature", tags, signer, message, names)


async def seal(
    message: Message, signer: Signer, results: str, chain: ArcOutcome, now: int, names: Sequence[str] = ()
) -> bytes:
    """The three fields of our set, to stand above the message; empty where nobody may add one (RFC 8617 5.1).

    `results` is the body of the Authentication-Results field that we write, authserv-id first (mail/authres.py); `chain` is
    what `verify_arc` said of the message; `names` as for `sign_dkim`.  A chain that could not be verified for lack of an
    answer is left as it is: to seal it would mean to vouch for it, or to break it for good.
    """
    instance = chain.highest + 1
    without_number = chain.result is Result.FAIL and not chain.highest
    if chain.ended or chain.result is Result.TEMPERROR or without_number or instance > MAX_SETS:
        return b""
    body = (await body_hashes(message, {_BODY}))[_BODY]
    names = names or _present(message)
    aar = f"ARC-Authentication-Results: i={instance}; {results}\r\n".encode("ascii", "replace")
    tags = [("a", signer.algorithm), ("b", ""), ("bh", _encoded(body.digest)), ("c", "relaxed/relaxed")]
    tags += [("d", signer.domain), ("h", ":".join(names)), *_end(signer, instance, now)]
    ams = _message_signature("ARC-Message-Signature", tags, signer, message, names)
    tags = [("a", signer.algorithm), ("b", ""), ("cv", chain.result.value), ("d", signer.domain)]
    tags += _end(signer, instance, now)
    return _seal(tags, signer, chain, relaxed_field(AAR, aar) + relaxed_field(AMS, ams)) + ams + aar


def _end(signer: Signer, instance: int, now: int) -> list[tuple[str, str]]:
    return [("i", str(instance)), ("s", signer.selector), ("t", str(now))]


def _encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _present(message: Message) -> list[str]:
    names = [name for name in NAMES for _ in message.all(name)[:_MAX_OF_A_NAME]]
    return [*names, "from"]


def _message_signature(
    name: str, tags: list[tuple[str, str]], signer: Signer, message: Message, names: Sequence[str]
) -> bytes:
    own = HeaderField(name, _field(name, tags, ""), -1)
    digest = header_hash(message, [item.lower() for item in names], own, relaxed=True, hash_name="sha256")
    return _field(name, tags, signer.sign(digest))


def _seal(tags: list[tuple[str, str]], signer: Signer, chain: ArcOutcome, own_set: bytes) -> bytes:
    """RFC 8617 5.1.1; of a broken chain a seal covers only its own set (5.1.2)."""
    digest = hashlib.sha256()
    for item in chain.sets:
        for header in item.fields:
            digest.update(relaxed_field(header.name, header.raw))
    digest.update(own_set)
    digest.update(relaxed_field(AS, _field("ARC-Seal", tags, "")).removesuffix(b"\r\n"))
    return _field("ARC-Seal", tags, signer.sign(digest.digest()))


def _field(name: str, tags: list[tuple[str, str]], value: str) -> bytes:
    """A signature field, folded so that the value of b= moves nothing else; b= has lines of its own.

    Folded with a space, not a tab: dkimpy, which many lists run, looks for " i=1;" as it stands.
    """
    lines = [f"{name}:"]
    alone = False  # the last line takes nothing more
    for index, (tag, text) in enumerate(tags):
        end = ";" if index < len(tags) - 1 else ""
        if tag == "b":
            parts = [value[at : at + LINE - 4] for at in range(0, len(value), LINE - 4)]
            lines.append("b=" + "\r\n  ".join(parts) + end)
            alone = True
            continue
        for number, word in enumerate(
            f"{tag}={text}{end}".replace(":", ": ").split(" ")
        ):  # h= may be folded after a colon
            blank = "" if number else " "
            if alone or len(lines[-1]) + len(blank) + len(word) > LINE:
                lines.append(word)
                alone = False
            else:
                lines[-1] += blank + word
    return "\r\n ".join(lines).encode("ascii") + b"\r\n"
