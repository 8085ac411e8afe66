"""Owns the private keys that we sign with, read from the PEM files that the configuration names.

Must not know what is signed with them.
"""

from __future__ import annotations

from pathlib import Path

from filterd.auth.seal import Signer, UnusableSignerError, load_signer
from filterd.config import Config
from filterd.errors import ConfigError

MAX_FILE = 65_536  # octets; a 4096-bit RSA key has 3,300


def seal_signer(config: Config) -> Signer | None:
    """Who seals (ARC); None when nobody does.  Raises ConfigError."""
    arc = config.arc
    if not arc.seal or arc.domain is None or arc.selector is None or arc.key_file is None:
        return None
    return _read("arc.key_file", arc.key_file, arc.domain, arc.selector)


def report_signer(config: Config) -> Signer | None:
    """Who signs DMARC reports (DKIM); None when nobody does.  Raises ConfigError."""
    reports = config.dmarc_reports
    if not reports.enabled or reports.dkim_key_file is None:
        return None
    return _read("dmarc_reports.dkim_key_file", reports.dkim_key_file, reports.dkim_domain, reports.dkim_selector)


def outbound_signers(config: Config) -> tuple[Signer, ...]:
    """Who signs mail of our own Exchange (DKIM), in the order of the configuration.  Raises ConfigError."""
    found = []
    for number, key in enumerate(config.outbound.dkim):
        assert key.key_file is not None  # the table says so
        found.append(_read(f"outbound.dkim[{number}].key_file", key.key_file, key.domain, key.selector))
    return tuple(found)


def check_signing_keys(config: Config) -> None:
    """Reads every key once, before the configuration is used.  Raises ConfigError."""
    seal_signer(config)
    report_signer(config)
    outbound_signers(config)


def _read(key: str, path: Path, domain: str, selector: str) -> Signer:
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_FILE)
    except OSError as error:
        raise ConfigError([f"{key}: {path} cannot be read: {error.strerror}"]) from None
    try:
        return load_signer(domain, selector, pem)
    except UnusableSignerError as error:
        remedy = f"make one with: openssl genrsa -out {path} 2048"
        raise ConfigError([f"{key}: {path} cannot be used: {error}; {remedy}"]) from None
