"""Certificate authorities that cannot be used are found before a configuration is, and only those that are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.adapters.upstream_tls import check_authorities
from filterd.config import parse_config
from filterd.errors import ConfigError
from tests.support.certificate import write_certificate


@pytest.mark.parametrize("name", ["upstream", "dmarc_reports", "outbound"])
def test_authorities_that_cannot_be_read_are_found_before_a_configuration_is_used(tmp_path: Path, name: str) -> None:
    reports = {"enabled": True, "email": "dmarc@example.org", "host": "127.0.0.1"}
    tables: dict[str, dict[str, object]] = {
        "upstream": {},
        "dmarc_reports": reports,
        "outbound": {"host": "relay.example.org"},
    }
    tables[name]["tls_ca_file"] = "ca.pem"
    with pytest.raises(ConfigError) as caught:
        check_authorities(parse_config(tables, tmp_path))
    assert caught.value.problems[0].startswith(
        f"{name}.tls_ca_file: {tmp_path / 'ca.pem'} cannot be used: No such file"
    )
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"tls_ca_file: .*; expected certificates in PEM form"):
        check_authorities(parse_config(tables, tmp_path))
    certificate, _ = write_certificate(tmp_path)
    certificate.rename(tmp_path / "ca.pem")
    check_authorities(parse_config(tables, tmp_path))


def test_a_process_that_starts_asks_for_what_inbound_mail_needs_only(tmp_path: Path) -> None:
    outbound = {"host": "relay.example.org", "tls_ca_file": "gone.pem"}
    check_authorities(parse_config({"outbound": outbound}, tmp_path), inbound_only=True)
    with pytest.raises(ConfigError, match=r"upstream\.tls_ca_file"):
        check_authorities(parse_config({"upstream": {"tls_ca_file": "gone.pem"}}, tmp_path), inbound_only=True)


def test_authorities_that_nobody_asks_are_not_read(tmp_path: Path) -> None:
    check_authorities(parse_config({"upstream": {"tls_ca_file": "ca.pem", "tls": "off"}}, tmp_path))
    check_authorities(parse_config({"dmarc_reports": {"tls_ca_file": "ca.pem"}}, tmp_path))
