"""Owns a stand-in for the part of Exchange that signs identity tokens: key, certificate, tokens.  Not part of the product."""

from __future__ import annotations

import base64
import datetime
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from filterd.adapters.exchange_certificate import thumbprint

ANNA = "53e925fa-76ba-45e1-be0f-4ef08b59d389@mailhost.example.org"
BOB = "0b7a4d0e-93f5-4a4c-8d3f-3d2b5b8a7c11@mailhost.example.org"
_ISSUER = "00000002-0000-0ff1-ce00-000000000000@mailhost.example.org"


class SigningExchange:
    """One Exchange organization's signing certificate."""

    def __init__(self, bits: int = 2048) -> None:
        self.key = rsa.generate_private_key(65537, bits)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Microsoft Exchange Server Auth Certificate")])
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=1825))
            .sign(self.key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def keys(self) -> dict[str, rsa.RSAPublicKey]:
        """As read_keys gives them."""
        return {self.thumbprint: self.key.public_key()}

    @property
    def thumbprint(self) -> str:
        """As in a token's header."""
        return thumbprint(self.certificate)

    def write(self, folder: Path) -> Path:
        """The certificate as a file."""
        path = folder / "exchange.pem"
        path.write_bytes(self.pem)
        return path

    def claims(self, page: str, user: str = ANNA, now: float | None = None) -> dict[str, Any]:
        """What Exchange would sign: times are texts there."""
        at = int(time.time() if now is None else now)
        return {
            "aud": page,
            "iss": _ISSUER,
            "nbf": str(at),
            "exp": str(at + 28_800),
            "appctxsender": _ISSUER,
            "isbrowserhostedapp": "true",
            "appctx": {
                "msexchuid": user,
                "version": "ExIdTok.V1",
                "amurl": "https://mailhost.example.org:443/autodiscover/metadata/json/1",
            },
        }

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token with these claims."""
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"x5t": self.thumbprint, **header})

    def token(self, page: str, user: str = ANNA, now: float | None = None) -> str:
        """A good token."""
        return self.sign(self.claims(page, user, now))


@cache
def exchange() -> SigningExchange:
    """The organization of the tests; made once, because keys take time."""
    return SigningExchange()


@cache
def stranger() -> SigningExchange:
    """Another organization."""
    return SigningExchange()


def part(value: Any) -> str:
    """One part of a token, from JSON or octets."""
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")
