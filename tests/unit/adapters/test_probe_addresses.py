"""Addresses for receipts are known to whoever has the site's key, from the moment at which it is made; with a sick one nobody can tell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from filterd.adapters.probe_addresses import ProbeAddresses
from filterd.adapters.site_key import path_of
from filterd.errors import ConfigError, TemporaryError

HOSTNAME = "filter.example.net"


def parts(address: str) -> tuple[str, str]:
    local, _, domain = address.partition("@")
    return local, domain


def test_another_process_knows_what_one_has_made(tmp_path: Path) -> None:
    daemon = ProbeAddresses(tmp_path)  # began before there was a key
    first, second = (ProbeAddresses(tmp_path).make(HOSTNAME) for _ in range(2))
    assert first != second
    assert daemon.knows(*parts(first))
    assert daemon.knows(*parts(second.upper()))
    assert not daemon.knows(parts(first)[0], "example.net")


def test_another_site_does_not_and_a_node_with_the_same_key_does(tmp_path: Path) -> None:
    made = parts(ProbeAddresses(tmp_path / "a").make(HOSTNAME))
    ProbeAddresses(tmp_path / "b").make(HOSTNAME)
    assert not ProbeAddresses(tmp_path / "b").knows(*made)
    shutil.copy(path_of(tmp_path / "a"), path_of(tmp_path / "b"))
    assert ProbeAddresses(tmp_path / "b").knows(*made)


def test_who_asks_makes_no_key(tmp_path: Path) -> None:
    made = parts(ProbeAddresses(tmp_path / "a").make(HOSTNAME))
    assert not ProbeAddresses(tmp_path / "b").knows(*made)
    assert not (tmp_path / "b").exists()


def test_an_old_address_is_not_known(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    made = parts(ProbeAddresses(tmp_path, lambda: now).make(HOSTNAME))
    assert ProbeAddresses(tmp_path, lambda: now + 3599).knows(*made)
    assert not ProbeAddresses(tmp_path, lambda: now + 3600).knows(*made)


def test_a_damaged_key_makes_none_and_refuses_none(tmp_path: Path) -> None:
    made = parts(ProbeAddresses(tmp_path).make(HOSTNAME))
    path_of(tmp_path).write_text("damaged")
    with pytest.raises(TemporaryError, match=r"receipt for a probe: .*site-key: expected 64 hexadecimal digits"):
        ProbeAddresses(tmp_path).knows(*made)
    with pytest.raises(ConfigError, match="site-key"):
        ProbeAddresses(tmp_path).make(HOSTNAME)
