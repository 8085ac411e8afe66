"""Addresses of the add-in: what is none is named with an example; what is one can stand in a page and in a header field as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.config import parse_config
from filterd.errors import ConfigError


def problem(tmp_path: Path, **reports: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config({"server": {"state_dir": str(tmp_path)}, "reports": reports}, tmp_path)
    (text,) = caught.value.problems
    return text


@pytest.mark.parametrize(
    "url", ["http://a.example", "a.example", 'https://a"b', "https://a b", "https://a;b/", "https://a.example/\n"]
)
def test_what_is_no_address_of_ours(tmp_path: Path, url: str) -> None:
    text = problem(tmp_path, public_url=url, exchange_certificate="exchange.pem")
    assert " reports.public_url: " in f" {text}"
    assert "such as https://filter.example.org" in text


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/office.js",
        "https://a.example/",
        "https://a.example/office.min.js",
        "https://a.example/office.js;",
    ],
)
def test_what_is_no_office_js(tmp_path: Path, url: str) -> None:
    text = problem(tmp_path, office_js=url)
    assert " reports.office_js: " in f" {text}"
    assert "called office.js" in text


def test_both_keys_or_none(tmp_path: Path) -> None:
    assert "public_url and exchange_certificate" in problem(tmp_path, public_url="https://filter.example.org")
    assert "public_url and exchange_certificate" in problem(tmp_path, exchange_certificate="exchange.pem")


@pytest.mark.parametrize("url", ["https://filter.example.org", "https://filter.example.org:8443/a/b/"])
def test_addresses(tmp_path: Path, url: str) -> None:
    reports = {"public_url": url, "exchange_certificate": "x.pem", "office_js": "https://a.example:444/x/office.js"}
    found = parse_config({"server": {"state_dir": str(tmp_path)}, "reports": reports}, tmp_path).reports
    assert (found.public_url, found.addin) == (url, True)
