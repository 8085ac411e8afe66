"""Owns the look at certificates: those of the listeners, and the judgement of any one.  RFC 5280 4.1.2.5, 4.2.1.6.

Must not know where a certificate of others was seen.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from filterd.config import Config, ListenerConfig
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.errors import ConfigError
from filterd.frontends.smtp.tls import server_context

SOON = timedelta(days=21)  # ACME clients renew 30 days before the end: with 21 left they have failed for nine
_MAX_NAMES = 5  # shown


def judge(what: str, certificate: x509.Certificate, now: datetime) -> Finding:
    """Whether its time is right; the text also names key and names."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    text = f"{key_kind(certificate)}, for {', '.join(names(certificate)) or 'no name'}, until {last:%Y-%m-%d}"
    if first > now:
        return fail(what, f"{text}: begins only on {first:%Y-%m-%d %H:%MZ}", "look at the clock of this machine first")
    if last <= now:
        return fail(what, f"{text}: it has expired", "renew it; listeners read the files again on reload")
    if last - now < SOON:
        return warn(what, f"{text}: {(last - now).days} days are left", "renew it, and see why that did not happen yet")
    return ok(what, text)


def key_kind(certificate: x509.Certificate) -> str:
    """The key in few words."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.lstrip("_")


def names(certificate: x509.Certificate) -> list[str]:
    """The first few DNS names and addresses that it is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    addresses = [str(address) for address in extension.get_values_for_type(x509.IPAddress)]
    return [*extension.get_values_for_type(x509.DNSName), *addresses][:_MAX_NAMES]


def listeners(config: Config, now: datetime | None = None) -> list[Finding]:
    """All certificates of all listeners, with the code by which the listeners load them."""
    now = now or datetime.now(UTC)
    return [finding for listener in config.listeners for finding in _listener(listener, now)]


def _listener(listener: ListenerConfig, now: datetime) -> list[Finding]:
    what = f"listener {listener.name}"
    if listener.tls == "none":
        return [ok(what, "no TLS, as configured")]
    try:
        context = server_context(listener)
    except ConfigError as error:
        return [fail(what, "; ".join(error.problems), "repair the files; until then the listener does not start")]
    if context is None:
        return [warn(what, "no certificate: mail comes in clear text", "give tls_certificate and tls_key")]
    found = []
    for path in (listener.tls_certificate, listener.tls_rsa_certificate):
        if path is None:
            continue
        try:
            certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
        except (OSError, ValueError) as error:
            found.append(
                fail(what, f"{path}: {error}", "expected a PEM file that begins with the listener's certificate")
            )
            continue
        found.append(judge(f"{what}, {path.name}", certificate, now))
    return found
