"""Private keys of the configuration: read before anything uses them; what is wrong is named with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.adapters.signing_key import (
    check_signing_keys,
    outbound_keys,
    outbound_signers,
    report_signer,
    seal_signer,
    seal_signer_or_none,
)
from filterd.config import Config, parse_config
from filterd.errors import ConfigError
from tests.support.keys import rsa_key


def config(folder: Path, content: bytes | None, **more: object) -> Config:
    if content is not None:
        (folder / "seal.pem").write_bytes(content)
    arc = {"seal": True, "domain": "Filter.Example.Org", "selector": "s1", "key_file": "seal.pem", **more}
    return parse_config({"arc": arc}, folder)


def test_the_signer_of_the_seal(tmp_path: Path) -> None:
    signer = seal_signer(config(tmp_path, rsa_key()[0]))
    assert signer is not None
    assert (signer.domain, signer.selector, signer.algorithm) == ("filter.example.org", "s1", "rsa-sha256")
    assert seal_signer(config(tmp_path, rsa_key()[0], seal=False)) is None
    assert seal_signer(Config()) is None


@pytest.mark.parametrize("content", [None, b"", b"nonsense", rsa_key()[1].encode(), b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_key_is_named(tmp_path: Path, content: bytes | None) -> None:
    with pytest.raises(ConfigError) as caught:
        check_signing_keys(config(tmp_path, content))
    (problem,) = caught.value.problems
    assert problem.startswith(f"arc.key_file: {tmp_path / 'seal.pem'} cannot be ")


def test_half_a_seal_is_no_seal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"arc": {"seal": True, "domain": "example.org"}}, tmp_path)
    assert "seal = true needs domain, selector and key_file" in str(caught.value)


def reports(folder: Path, **more: object) -> Config:
    signature = {"dkim_domain": "Example.Org", "dkim_selector": "s1", "dkim_key_file": "report.pem"}
    table = {"enabled": True, "email": "dmarc@example.org", "host": "127.0.0.1", **signature, **more}
    return parse_config({"dmarc_reports": table}, folder)


def test_the_signer_of_dmarc_reports(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_signing_keys(reports(tmp_path))
    assert caught.value.problems[0].startswith(f"dmarc_reports.dkim_key_file: {tmp_path / 'report.pem'} cannot be read")
    check_signing_keys(reports(tmp_path, enabled=False))
    (tmp_path / "report.pem").write_bytes(rsa_key()[0])
    signer = report_signer(reports(tmp_path))
    assert signer is not None
    assert (signer.domain, signer.selector) == ("example.org", "s1")
    assert report_signer(Config()) is None


def test_the_signers_of_outbound_mail_in_their_order(tmp_path: Path) -> None:
    keys = [
        {"domain": "Example.Org", "selector": "rsa", "key_file": "one.pem"},
        {"domain": "sales.example.org", "selector": "s2", "key_file": "two.pem"},
    ]
    config = parse_config({"outbound": {"dkim": keys}}, tmp_path)
    (tmp_path / "one.pem").write_bytes(rsa_key()[0])
    with pytest.raises(ConfigError) as caught:
        check_signing_keys(config)
    assert caught.value.problems[0].startswith(f"outbound.dkim[1].key_file: {tmp_path / 'two.pem'} cannot be read")
    (tmp_path / "two.pem").write_bytes(rsa_key()[0])
    assert [(one.domain, one.selector) for one in outbound_signers(config)] == [
        ("example.org", "rsa"),
        ("sales.example.org", "s2"),
    ]
    assert outbound_signers(Config()) == ()


def test_a_running_filter_signs_with_the_keys_that_can_be_used(tmp_path: Path) -> None:
    keys = [
        {"domain": "Example.org", "selector": "rsa", "key_file": "one.pem"},
        {"domain": "example.org", "selector": "ed", "key_file": "gone.pem"},
        {"domain": "Example.NET", "selector": "rsa", "key_file": "two.pem"},
    ]
    (tmp_path / "one.pem").write_bytes(rsa_key()[0])
    (tmp_path / "two.pem").write_bytes(b"nonsense")
    config = parse_config({"outbound": {"dkim": keys}}, tmp_path)
    found = outbound_keys(config)
    assert [(one.domain, one.selector) for one in found.signers] == [("example.org", "rsa")]
    assert found.unsignable == {"example.net"}, "the other one has a second key"
    gone, nonsense = found.problems
    assert gone.startswith(f"outbound.dkim[1].key_file: {tmp_path / 'gone.pem'} cannot be read")
    assert nonsense.startswith(f"outbound.dkim[2].key_file: {tmp_path / 'two.pem'} cannot be used")
    with pytest.raises(ConfigError) as caught:
        check_signing_keys(config)
    assert caught.value.problems == [gone, nonsense], "both, not the first"


def test_without_its_key_nothing_is_sealed_and_one_line_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert seal_signer_or_none(config(tmp_path, None)) is None
    (record,) = caplog.records
    assert record.__dict__["problems"][0].startswith("arc.key_file: ")
    assert seal_signer_or_none(config(tmp_path, rsa_key()[0])) is not None
    assert len(caplog.records) == 1
