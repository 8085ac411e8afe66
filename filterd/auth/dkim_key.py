"""Owns public keys of DKIM signers: the record's grammar, the bounds on keys, the signature's arithmetic.

RFC 6376 3.6.1, RFC 8301 (strength), RFC 8463 (Ed25519).  Must not know messages or DNS.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from filterd.auth.tags import TagError, parse_tags, without_blanks, words

MAX_RECORD = 4096  # octets of a key record
MIN_RSA_BITS, MAX_RSA_BITS = 1024, 4096  # RFC 8301 3.2; above, verification costs the receiver, not the signer
MAX_EXPONENT = 2**32  # everybody uses 65537
KEPT = 256  # keys kept loaded (a few KB each): loading one costs half as much as a verification with it
_HASHES: dict[str, HashAlgorithm] = {"sha256": SHA256(), "sha1": SHA1()}  # noqa: S303 - signatures with sha1 are refused before; the tests of old suites need it


class UnusableKeyError(ValueError):
    """The record cannot be used: malformed, for something else, or revoked."""


class WeakKeyError(ValueError):
    """The key is outside the strength that is accepted here."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may be used for mail.

    Attributes:
        kind: "rsa" or "ed25519".
        hashes: names the owner allows, empty for all.
        exact_identity: t=s, the domain of i= must be d= itself.
        testing: t=y, the owner only tries.
    """

    kind: str
    key: RSAPublicKey | Ed25519PublicKey
    hashes: frozenset[str]
    exact_identity: bool
    testing: bool

    def verifies(self, signature: bytes, digest: bytes, hash_name: str) -> bool:
        """Whether `signature` is this key's for the digest of the canonical header."""
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, digest, PKCS1v15(), Prehashed(_HASHES[hash_name]))
            else:
                self.key.verify(signature, digest)
        except InvalidSignature:
            return False
        return True


def parse_key(record: str) -> PublicKey:
    """The key in one TXT record.  Raises UnusableKeyError or WeakKeyError."""
    if len(record) > MAX_RECORD:
        raise UnusableKeyError(f"key record is longer than {MAX_RECORD} octets")
    return _parsed(record)


@lru_cache(maxsize=KEPT)
def _parsed(record: str) -> PublicKey:
    try:
        tags = parse_tags(record)
    except TagError as error:
        raise UnusableKeyError(f"key record: {error}") from None
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        raise UnusableKeyError("key record: unknown version")
    if "p" not in tags:
        raise UnusableKeyError("key record: no p=")
    services = words(tags.get("s", "*"))
    if "*" not in services and "email" not in services:
        raise UnusableKeyError("key is not for mail (s=)")
    hashes = frozenset(words(tags["h"])) if "h" in tags else frozenset[str]()
    if "h" in tags and not hashes & _HASHES.keys():
        raise UnusableKeyError("key allows no hash that is known here (h=)")
    kind = tags.get("k", "rsa").lower()
    encoded = without_blanks(tags["p"])
    if not encoded:
        raise UnusableKeyError("key is revoked")
    try:
        octets = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise UnusableKeyError("key record: p= is not base64") from None
    flags = words(tags.get("t", ""))
    return PublicKey(kind, _load(kind, octets), hashes, "s" in flags, "y" in flags)


def key_record(key: RSAPublicKey | Ed25519PublicKey) -> str:
    """The TXT record that publishes a key (RFC 6376 3.6.1, RFC 8463 3)."""
    if isinstance(key, RSAPublicKey):
        kind, octets = "rsa", key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, octets = "ed25519", key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"


def _load(kind: str, octets: bytes) -> RSAPublicKey | Ed25519PublicKey:
    try:
        if kind == "ed25519":
            return Ed25519PublicKey.from_public_bytes(octets)
        key = load_der_public_key(octets) if kind == "rsa" else None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeyError("key record: p= is no usable key") from None
    if not isinstance(key, RSAPublicKey):
        raise UnusableKeyError(f"key record: unknown key type {kind[:20]!r}")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise WeakKeyError(f"RSA key of {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")
    if key.public_numbers().e >= MAX_EXPONENT:
        raise WeakKeyError("RSA exponent is too large")
    return key
