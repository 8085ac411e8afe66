"""Owns the private keys that we sign with, read from the PEM files that the configuration names.

Must not know what is signed with them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from filterd import metrics
from filterd.auth.names import ascii_domain
from filterd.auth.seal import Signer, UnusableSignerError, load_signer
from filterd.config import Config
from filterd.errors import ConfigError

log = logging.getLogger(__name__)

MAX_FILE = 65_536  # octets; a 4096-bit RSA key has 3,300


def seal_signer(config: Config) -> Signer | None:
    """Who seals (ARC); None when nobody does.  Raises ConfigError."""
    arc = config.arc
    if not arc.seal or arc.domain is None or arc.selector is None or arc.key_file is None:
        return None
    return _read("arc.key_file", arc.key_file, arc.domain, arc.selector)


def seal_signer_or_none(config: Config) -> Signer | None:
    """The same for a process that starts: mail goes on without the seal, and one line says why."""
    try:
        signer = seal_signer(config)
    except ConfigError as error:
        log.error("mail is not sealed until this is repaired and filterd reloaded", extra={"problems": error.problems})
        metrics.SIGNING_KEYS_UNUSABLE.labels("arc").set(1)
        return None
    metrics.SIGNING_KEYS_UNUSABLE.labels("arc").set(0)
    return signer


def report_signer(config: Config) -> Signer | None:
    """Who signs DMARC reports (DKIM); None when nobody does.  Raises ConfigError."""
    reports = config.dmarc_reports
    if not reports.enabled or reports.dkim_key_file is None:
        return None
    return _read("dmarc_reports.dkim_key_file", reports.dkim_key_file, reports.dkim_domain, reports.dkim_selector)


@dataclass(frozen=True, slots=True)
class OutboundKeys:
    """Who signs mail of our own Exchange.

    Attributes:
        signers: in the order of the configuration.
        problems: one line for each key that cannot be used: its field, and what is wrong.
        unsignable: domains that have keys, of which none can be used.
    """

    signers: tuple[Signer, ...] = ()
    problems: tuple[str, ...] = ()
    unsignable: frozenset[str] = frozenset()


def outbound_keys(config: Config) -> OutboundKeys:
    """The keys that can be used, and what is wrong with the others: a running filter does not end for one of them."""
    signers: list[Signer] = []
    problems: list[str] = []
    for number, key in enumerate(config.outbound.dkim):
        assert key.key_file is not None  # the table says so
        try:
            signers.append(_read(f"outbound.dkim[{number}].key_file", key.key_file, key.domain, key.selector))
        except ConfigError as error:
            problems += error.problems
    domains = {ascii_domain(key.domain) or key.domain for key in config.outbound.dkim}
    return OutboundKeys(tuple(signers), tuple(problems), frozenset(domains - {one.domain for one in signers}))


def outbound_signers(config: Config) -> tuple[Signer, ...]:
    """Who signs mail of our own Exchange (DKIM), in the order of the configuration.  Raises ConfigError that names each bad key."""
    keys = outbound_keys(config)
    if keys.problems:
        raise ConfigError(list(keys.problems))
    return keys.signers


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
