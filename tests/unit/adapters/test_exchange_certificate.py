"""The certificates that Exchange signs with: what cannot be used is named with its key and the remedy."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from filterd.adapters.exchange_certificate import MAX_FILE, read_keys
from filterd.errors import ConfigError
from tests.support.certificate import write_certificate
from tests.support.exchange_token import SigningExchange, exchange, stranger


def test_the_present_and_the_next_certificate(tmp_path: Path) -> None:
    path = exchange().write(tmp_path)
    assert set(read_keys(path)) == {exchange().thumbprint}
    path.write_bytes(exchange().pem + stranger().pem)
    keys = read_keys(path)
    assert set(keys) == {exchange().thumbprint, stranger().thumbprint}
    assert keys[stranger().thumbprint].public_numbers() == stranger().key.public_key().public_numbers()


def test_the_thumbprint_is_the_one_that_windows_shows(tmp_path: Path) -> None:
    (name,) = read_keys(exchange().write(tmp_path))
    assert len(name) == 27
    shown = hashlib.sha1(exchange().certificate.public_bytes(Encoding.DER)).hexdigest()
    assert base64.urlsafe_b64decode(name + "=").hex() == shown


def _elliptic(folder: Path) -> bytes:
    return write_certificate(folder / "ec")[0].read_bytes()


def _changed(pem: bytes, old: bytes, new: bytes) -> bytes:
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert der.count(old) >= 1
    text = base64.encodebytes(der.replace(old, new))
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def test_certificates_of_kinds_that_nobody_knows_are_named_too(tmp_path: Path) -> None:
    path = tmp_path / "exchange.pem"
    unknown_curve = _changed(_elliptic(tmp_path), bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030106"))
    version_5 = _changed(exchange().pem, bytes.fromhex("a003020102"), bytes.fromhex("a003020104"))
    for content in (unknown_curve, version_5):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be used: no certificate in PEM form"):
            read_keys(path)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "exchange.pem"
    weak = SigningExchange(1024).pem
    contents = {
        "no certificate": b"",
        "in PEM form that can be read": exchange().pem[:200],
        "PEM form": b"\x30\x82" + bytes(100),
        "not RSA": _elliptic(tmp_path),
        "2048 bits": exchange().pem + weak,
        "octets": exchange().pem + b"\n" * MAX_FILE,
    }
    for words, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_keys(path)
        (problem,) = caught.value.problems
        assert problem.startswith(f"reports.exchange_certificate: {path} cannot be used: ")
        assert words in problem
        assert "Get-AuthConfig" in problem
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "missing.pem")
