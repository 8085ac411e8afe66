"""Upstream and directory: there, not there, and there with something that will hurt."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from filterd.config import AuthConfig, Config, LimitsConfig, ServerConfig, UpstreamConfig
from filterd.deadline import Deadline
from filterd.doctor import neighbours
from filterd.doctor.finding import Finding, Level
from sandbox.exchange import HANG_UP, StandInExchange
from tests.support.certificate import server_context
from tests.support.threaded import in_thread


def look(
    folder: Path, answers: dict[str, Any] | None = None, encrypted: bool = False, **upstream: Any
) -> list[Finding]:
    """What doctor says about a stand-in for Exchange with these answers."""
    server = StandInExchange(folder / "maildir", tls=server_context(folder) if encrypted else None)
    server.answers.update(answers or {})
    hostname = upstream.pop("hostname", "filter.example.net")
    limits = upstream.pop("limits", LimitsConfig())
    with in_thread(server):
        config = UpstreamConfig(port=server.port, connect_seconds=5.0, **upstream)
        return neighbours.upstream(Config(server=ServerConfig(hostname=hostname), upstream=config, limits=limits))


def test_a_good_upstream_is_described(tmp_path: Path) -> None:
    found = look(tmp_path, encrypted=True)
    assert found[0].level is Level.OK
    assert "exchange.example.org answers; it does not offer SMTPUTF8" in found[0].text
    (tls,) = [item for item in found if item.what.endswith("TLS")]
    assert "ECDSA secp256r1, for localhost, 127.0.0.1" in tls.text


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ({"connect": "554 5.7.1 Not you"}, "554 5.7.1 Not you"),
        ({"connect": "421 4.3.2 Later"}, "421 4.3.2 Later"),
        ({"connect": HANG_UP}, "closed"),
        ({"ehlo": "550 5.7.1 No"}, "550 5.7.1 No"),
    ],
)
def test_an_upstream_that_will_not_have_us(tmp_path: Path, answers: dict[str, Any], text: str) -> None:
    (found,) = look(tmp_path, answers)
    assert found.level is Level.FAIL
    assert text in found.text
    assert "451" in found.remedy


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can have it
        config = Config(upstream=UpstreamConfig(port=taken.getsockname()[1], connect_seconds=2.0))
        (found,) = neighbours.upstream(config)
    assert found.level is Level.FAIL


@pytest.mark.parametrize(
    ("tls", "answers", "upstream", "level", "text"),
    [
        (False, {}, {"tls": "off"}, Level.OK, "off"),
        (False, {}, {}, Level.WARN, "not offered"),
        (False, {}, {"tls": "required"}, Level.FAIL, "not offered"),
        (True, {}, {}, Level.WARN, "days are left"),
        (True, {}, {"tls_verify": True}, Level.FAIL, "certificate verify failed"),
        (True, {"starttls": "454 4.7.0 Not now"}, {}, Level.WARN, "454 4.7.0 Not now"),
        (True, {"starttls": "454 4.7.0 Not now"}, {"tls": "required"}, Level.FAIL, "454 4.7.0 Not now"),
    ],
)
def test_tls(
    tmp_path: Path, tls: bool, answers: dict[str, Any], upstream: dict[str, Any], level: Level, text: str
) -> None:
    (found,) = [item for item in look(tmp_path, answers, tls, **upstream) if item.what.endswith("TLS")]
    assert (found.level, text in found.text) == (level, True), found


@pytest.mark.parametrize(("size", "warned"), [("1000", True), ("0", False), ("", False), ("99999999", False)])
def test_a_smaller_size_than_ours(tmp_path: Path, size: str, warned: bool) -> None:
    found = look(tmp_path, {"ehlo": f"250-exchange.example.org\n250 SIZE {size}"})
    assert any("limits.message_bytes" in item.text for item in found) is warned


def test_an_upstream_with_our_own_name(tmp_path: Path) -> None:
    found = look(tmp_path, hostname="exchange.example.org")
    assert any("as we do" in item.text and item.level is Level.WARN for item in found)


def test_directory(tmp_path: Path) -> None:
    def ask(url: str) -> list[Finding]:
        async def scene() -> list[Finding]:
            return await neighbours.directory(Config(auth=AuthConfig(ldap_url=url)), Deadline.after(5))

        return asyncio.run(scene())

    assert ask("") == []
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert [item.level for item in ask(f"ldap://127.0.0.1:{server.getsockname()[1]}")] == [Level.OK]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert [item.level for item in ask(f"ldap://127.0.0.1:{taken.getsockname()[1]}")] == [Level.FAIL]
    assert [item.level for item in ask("ldap://dc01..example")] == [Level.FAIL], "a name that no server can have"


def test_a_name_that_no_server_can_have_is_an_upstream_that_is_not_there() -> None:
    (line,) = neighbours.upstream(Config(upstream=UpstreamConfig(host="mail..example")))
    assert (line.level, line.what) == (Level.FAIL, "upstream mail..example:2526")
    assert "451 4.4.1" in line.remedy
