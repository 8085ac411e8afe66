"""Owns throw-away signing keys for tests, made once per run, and signing with dkimpy.  Not part of the product."""

from __future__ import annotations

import base64
from functools import cache

import dkim
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

DOMAIN, SELECTOR = "example.com", "test"
KEY_NAME = f"{SELECTOR}._domainkey.{DOMAIN}"


@cache
def rsa_key(bits: int = 1024, exponent: int = 65537) -> tuple[bytes, str]:
    """(private key as PEM, key record)."""
    key = rsa.generate_private_key(exponent, bits)
    pem = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption())
    public = key.public_key().public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    return pem, "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


@cache
def ed25519_key() -> tuple[bytes, str]:
    """(private key in base64 as dkimpy wants it, key record)."""
    key = ed25519.Ed25519PrivateKey.generate()
    secret = key.private_bytes(ser.Encoding.Raw, ser.PrivateFormat.Raw, ser.NoEncryption())
    public = key.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)
    return base64.b64encode(secret), "v=DKIM1; k=ed25519; p=" + base64.b64encode(public).decode()


def sign(
    message: bytes,
    *,
    algorithm: str = "rsa-sha256",
    canonicalize: str = "relaxed/relaxed",
    length: bool = False,
    fields: list[bytes] | None = None,
    identity: str | None = None,
    key: bytes | None = None,
    domain: str = DOMAIN,
) -> bytes:
    """`message` with a signature of dkimpy before it."""
    secret = key or (ed25519_key()[0] if algorithm == "ed25519-sha256" else rsa_key()[0])
    header, _, body = canonicalize.partition("/")
    signature: bytes = dkim.sign(
        message,
        SELECTOR.encode(),
        domain.encode(),
        secret,
        identity=identity.encode() if identity else None,
        canonicalize=(header.encode(), body.encode()),
        signature_algorithm=algorithm.encode(),
        include_headers=fields or [b"from", b"to", b"subject"],
        length=length,
        linesep=b"\r\n",
    )
    return signature + message
