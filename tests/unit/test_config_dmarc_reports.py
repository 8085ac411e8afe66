"""The table [dmarc_reports]: off by default, and what is missing or wrong is named with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from filterd.config import Config, parse_config
from filterd.errors import ConfigError

GOOD = {"enabled": True, "email": "dmarc@mail.example.org", "host": "exchange.example.org"}


def table(**changes: Any) -> Config:
    return parse_config({"dmarc_reports": {**GOOD, **changes}}, Path("/etc/filterd"))


def test_off_by_default() -> None:
    assert not parse_config({}, Path("/etc/filterd")).dmarc_reports.enabled


def test_the_least_that_is_needed() -> None:
    config = table().dmarc_reports
    assert (config.enabled, config.port, config.tls) == (True, 25, "opportunistic")


def test_a_signature_and_paths_from_the_files_folder() -> None:
    config = table(dkim_domain="Example.org", dkim_selector="s1", dkim_key_file="dkim.pem", tls_ca_file="ca.pem")
    assert config.dmarc_reports.dkim_key_file == Path("/etc/filterd/dkim.pem")
    assert config.dmarc_reports.tls_ca_file == Path("/etc/filterd/ca.pem")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"email": ""}, "dmarc_reports: email: expected the mailbox that reports come from, as enabled = true"),
        ({"email": "example.org"}, "email: expected a mailbox such as dmarc-reports@example.org"),
        ({"email": "dmarc@example.org."}, "email: expected a mailbox such as"),
        ({"email": "ä@example.org"}, "email: expected a mailbox such as"),
        ({"email": "a@[192.0.2.1]"}, "email: expected a mailbox such as"),
        ({"host": ""}, "host: expected the server that takes mail to other domains, as enabled = true"),
        ({"host": "a b"}, "host: expected a name or an address such as exchange.example.org"),
        ({"dkim_domain": "example.org"}, "dkim_domain, dkim_selector and dkim_key_file must be given together"),
        ({"dkim_selector": "s", "dkim_key_file": "k"}, "must be given together"),
        (
            {"dkim_domain": "example.net", "dkim_selector": "s", "dkim_key_file": "k"},
            "dkim_domain: expected the domain of email or one above it, or reports fail DMARC",
        ),
        ({"dkim_domain": "ple.org", "dkim_selector": "s", "dkim_key_file": "k"}, "expected the domain of email"),
        (
            {"dkim_domain": "a b", "dkim_selector": "s", "dkim_key_file": "k"},
            "expected names such as example.org and s1",
        ),
        ({"report_bytes": 5}, "dmarc_reports.report_bytes: input should be greater than or equal to 20000, found 5"),
        ({"relay": "x"}, "dmarc_reports.relay: unknown key"),
    ],
)
def test_the_error_names_key_and_remedy(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(**changes)
    assert any(expected in problem for problem in caught.value.problems), caught.value.problems
