"""Certificates: right, running out, over, not begun, of another key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from filterd.config import Config, ListenerConfig
from filterd.doctor import certificates
from filterd.doctor.finding import Finding, Level
from tests.support.certificate import write_certificate

NOW = datetime(2026, 9, 21, 12, tzinfo=UTC)


def write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, days: int) -> tuple[Path, Path]:
    """Certificate and key; it began 90 days before the end."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    last = NOW + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(last - timedelta(days=90))
        .not_valid_after(last)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(encoding))
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(encoding, form, none))
    return files


def look(listener: ListenerConfig) -> list[Finding]:
    return certificates.listeners(Config(listeners=(listener,)), NOW)


@pytest.mark.parametrize(
    ("days", "level", "text"),
    [
        (60, Level.OK, "ECDSA secp256r1, for mail.example.org, until 2026-11-20"),
        (22, Level.OK, "until"),
        (20, Level.WARN, "20 days are left"),
        (-1, Level.FAIL, "has expired"),
        (100, Level.FAIL, "begins only on"),
    ],
)
def test_its_time(tmp_path: Path, days: int, level: Level, text: str) -> None:
    certificate, key = write(tmp_path, "mail.example.org", ec.generate_private_key(ec.SECP256R1()), days)
    (found,) = look(ListenerConfig(tls_certificate=certificate, tls_key=key))
    assert found.level is level
    assert text in found.text
    assert bool(found.remedy) is (level is not Level.OK)


def test_both_certificates_are_looked_at(tmp_path: Path) -> None:
    first = write(tmp_path, "a.example.org", ec.generate_private_key(ec.SECP256R1()), 60)
    second = write(tmp_path, "b.example.org", rsa.generate_private_key(65537, 2048), 3)
    found = look(
        ListenerConfig(tls_certificate=first[0], tls_key=first[1], tls_rsa_certificate=second[0], tls_rsa_key=second[1])
    )
    assert [item.level for item in found] == [Level.OK, Level.WARN]
    assert "RSA 2048" in found[1].text


def test_what_the_listener_could_not_load(tmp_path: Path) -> None:
    certificate, _ = write_certificate(tmp_path)
    _, other = write(tmp_path, "other.example.org", ec.generate_private_key(ec.SECP256R1()), 60)
    for key in (other, tmp_path / "missing.key", certificate):
        (found,) = look(ListenerConfig(tls_certificate=certificate, tls_key=key))
        assert found.level is Level.FAIL
        assert "tls_key" in found.text


def test_listeners_without_certificate() -> None:
    (found,) = look(ListenerConfig())
    assert (found.level, found.what) == (Level.WARN, "listener internet")
    assert "clear text" in found.text
    (found,) = look(ListenerConfig(tls="none"))
    assert found.level is Level.OK
