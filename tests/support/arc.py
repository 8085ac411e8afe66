"""Owns messages with ARC sets for tests, sealed by filterd.auth.seal, and their keys.  Not part of the product."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519

from filterd.auth.arc import ArcOutcome, verify_arc
from filterd.auth.seal import Signer, load_signer, seal
from filterd.deadline import Deadline
from filterd.mail.message import Message, WholeOctets
from tests.support.dns import MapResolver
from tests.support.keys import rsa_key

NOW = 1_700_000_000  # in the past: dkimpy refuses seals from the future
_ED25519 = ed25519.Ed25519PrivateKey.generate().private_bytes(
    ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()
)


def signer(domain: str, bits: int = 1024) -> Signer:
    """Signs with the key whose record `keys` gives."""
    return load_signer(domain, "s1", rsa_key(bits)[0])


def ed25519_signer(domain: str) -> Signer:
    return load_signer(domain, "s1", _ED25519)


def keys(*domains: str, bits: int = 1024) -> dict[tuple[str, str], list[str]]:
    """The key records of `signer` for these domains."""
    return {(f"s1._domainkey.{domain}", "TXT"): [rsa_key(bits)[1]] for domain in domains}


def verify(
    octets: WholeOctets, records: Mapping[tuple[str, str], list[str]], failing: set[str] | None = None
) -> ArcOutcome:
    """What the chain of a message says."""
    resolver = MapResolver(records, failing or set())
    return asyncio.run(verify_arc(resolver, Message(octets), NOW, Deadline.after(20)))


def sealed(octets: bytes, *hops: tuple[str, str], bits: int = 1024) -> bytes:
    """The message as it is after these hops, oldest first: (domain, what it states after its authserv-id)."""
    records = keys(*(domain for domain, _ in hops), bits=bits)
    for domain, states in hops:
        chain = verify(octets, records)
        results = f"mx.{domain};\r\n\t{states}"
        octets = asyncio.run(seal(Message(octets), signer(domain, bits), results, chain, NOW)) + octets
    return octets
