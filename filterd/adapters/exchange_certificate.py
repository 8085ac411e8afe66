"""Owns the public keys that Exchange signs identity tokens with, read from the PEM file that the configuration names.

Each key is named by the SHA-1 thumbprint of its certificate (RFC 7515 4.1.7, "x5t").  A thumbprint only chooses among the keys of
this file, so that SHA-1 is no weakness here.  Must not know tokens.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1

from filterd.errors import ConfigError

MAX_FILE = 65_536  # octets; a certificate of Exchange's has 2,000, and the one in use and the next one are enough
MIN_BITS = 2048  # RFC 7518 3.3, for RS256
_KEY = "reports.exchange_certificate"


def read_keys(path: Path) -> Mapping[str, RSAPublicKey]:
    """The keys in the file by thumbprint, as tokens name it (base64url without padding).  Raises ConfigError."""
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError([f"{_KEY}: {path} cannot be read: {error.strerror}"]) from None
    if len(pem) > MAX_FILE:
        raise _unusable(path, f"more than {MAX_FILE} octets")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        keys = {thumbprint(certificate): certificate.public_key() for certificate in certificates}
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise _unusable(path, "no certificate in PEM form that can be read") from None
    found: dict[str, RSAPublicKey] = {}
    for name, key in keys.items():
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
            raise _unusable(path, f"a certificate whose key is not RSA of {MIN_BITS} bits or more")
        found[name] = key
    return found


def thumbprint(certificate: x509.Certificate) -> str:
    """As the header of a token names its certificate."""
    return base64.urlsafe_b64encode(certificate.fingerprint(SHA1())).decode().rstrip("=")  # noqa: S303 - x5t is SHA-1 by RFC 7515 4.1.7; it only names the key, the signature is RS256


def _unusable(path: Path, what: str) -> ConfigError:
    remedy = "export the certificate that Get-AuthConfig names, see docs/addin.md"
    return ConfigError([f"{_KEY}: {path} cannot be used: {what}; {remedy}"])
