"""An outbound listener serves our own Exchange servers and nobody else: what would be an open relay is no configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.config import load_config
from filterd.errors import ConfigError

LISTENER = "[[listeners]]\nname = 'out'\ntrust = 'outbound'\n"
HOST = "[outbound]\nhost = 'relay.example.net'\n"


def problems(tmp_path: Path, text: str) -> str:
    path = tmp_path / "filterd.toml"
    path.write_text(text)
    try:
        load_config(path)
    except ConfigError as error:
        return "\n".join(error.problems)
    return ""


def test_exchange_servers_and_a_next_server_are_enough(tmp_path: Path) -> None:
    assert problems(tmp_path, LISTENER + "sources = ['192.0.2.25', '2001:db8::/64']\n" + HOST) == ""


@pytest.mark.parametrize(
    "sources",
    [
        "",
        "sources = []\n",
        "sources = ['0.0.0.0/0']\n",
        "sources = ['0.0.0.0/0.0.0.0']\n",
        "sources = ['192.0.2.25', '::/0']\n",
        "sources = ['::ffff:0:0/96']\n",
        "sources = ['0.0.0.0/1', '128.0.0.0/1']\n",
        "sources = ['64.0.0.0/7']\n",
        "sources = ['2000::/3']\n",
    ],
)
def test_sources_that_are_everybody_are_an_open_relay(tmp_path: Path, sources: str) -> None:
    assert "trust = outbound needs sources" in problems(tmp_path, LISTENER + sources + HOST)


@pytest.mark.parametrize(
    "more",
    ["xclient_from = ['192.0.2.1']\n", "tls_certificate = 'c'\ntls_key = 'k'\nauth = true\n"],
)
def test_nobody_else_may_say_who_he_is(tmp_path: Path, more: str) -> None:
    assert "knows its clients by sources alone" in problems(
        tmp_path, LISTENER + "sources = ['192.0.2.25']\n" + more + HOST
    )


@pytest.mark.parametrize("balancer", ["192.0.2.25", "192.0.2.0/24", "::ffff:192.0.2.25"])
def test_a_load_balancer_is_no_exchange_server(tmp_path: Path, balancer: str) -> None:
    """What it forwards without saying for whom (PROXY UNKNOWN, LOCAL) has its own address."""
    more = f"sources = ['192.0.2.25']\nproxy_from = ['{balancer}']\n"
    assert "proxy_from" in problems(tmp_path, LISTENER + more + HOST)
    apart = "sources = ['192.0.2.25', '2001:db8::1']\nproxy_from = ['192.0.2.77']\n"
    assert problems(tmp_path, LISTENER + apart + HOST) == ""


@pytest.mark.parametrize("widest", ["10.0.0.0/8", "fd00::/16"])
def test_a_network_of_our_own_may_be_wide(tmp_path: Path, widest: str) -> None:
    assert problems(tmp_path, LISTENER + f"sources = ['{widest}']\n" + HOST) == ""


def test_without_a_next_server_there_is_nowhere_to_go(tmp_path: Path) -> None:
    assert "trust = outbound needs outbound.host" in problems(tmp_path, LISTENER + "sources = ['192.0.2.25']\n")


def test_a_key_without_a_file_is_none(tmp_path: Path) -> None:
    assert "expected a PEM file" in problems(tmp_path, "[[outbound.dkim]]\ndomain = 'example.org'\n")
