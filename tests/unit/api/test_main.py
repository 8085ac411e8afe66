"""The process of the side service: starts on a port or an inherited socket, ends in good order on SIGTERM."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from api.__main__ import bind
from filterd.config import ApiConfig
from filterd.storage import tokens
from tests.support.storage import make_database

START_SECONDS = 60.0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file; the database is there already."""
    path = tmp_path / "filterd.toml"
    path.write_text("[server]\nstate_dir = 'state'\n[api]\nport = 0\n[storage]\nmin_free_bytes = 0\n")
    make_database(tmp_path / "state").close()
    return path


@contextmanager
def running(config: Path, *arguments: str, fds: tuple[int, ...] = ()) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process and its port, taken from its log."""
    command = [sys.executable, "-m", "api", "--config", str(config), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=fds)
    try:
        assert process.stderr is not None
        line = json.loads(process.stderr.readline())
        assert line["event"] == "side service listens"
        yield process, line["port"]
    finally:
        process.kill()
        process.communicate()


def wait_for_health(port: int) -> httpx.Response:
    """The first answer; the socket listens before the service answers, so this waits in the kernel's queue."""
    return httpx.get(f"http://127.0.0.1:{port}/v1/health", timeout=START_SECONDS)


def test_start_ask_and_stop(config: Path) -> None:
    with running(config) as (process, port):
        assert wait_for_health(port).json()["status"] == "ok"
        database = make_database(config.parent / "state")
        token = tokens.create(database, "test", ["read"])
        database.close()
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"http://127.0.0.1:{port}/v1/quarantine", headers=headers).json()["items"] == []
        spoofed = {"X-Forwarded-For": "192.0.2.1"}
        assert httpx.get(f"http://127.0.0.1:{port}/v1/quarantine", headers=spoofed).status_code == 401
        process.terminate()
        _, log = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 0
        assert token not in log
        lines = [json.loads(line) for line in log.splitlines()]
        clients = [line["client"] for line in lines if line["event"] == "request"]
        assert clients == ["127.0.0.1", "127.0.0.1"], "a client must not choose its address"


def test_answers_are_not_held_back() -> None:
    with bind(ApiConfig(port=0)) as sock:
        assert sock.proto == socket.IPPROTO_TCP, "else asyncio leaves Nagle's algorithm on: 44 ms instead of 3 ms"


def test_an_inherited_socket(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with running(config, "--fd", str(sock.fileno()), fds=(sock.fileno(),)) as (_, found):
            assert found == port
            assert wait_for_health(port).status_code == 200


def test_a_head_that_is_too_large_is_refused(config: Path) -> None:
    with running(config) as (_, port):
        wait_for_health(port)
        with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as client:
            client.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000)  # and no end in sight
            assert client.recv(100).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[api]\nport = 1234567\n", "api.port"),
        ("[api]\naddress = '192.0.2.254'\n", "choose another address or port"),
        ("not toml", "not valid TOML"),
    ],
)
def test_what_cannot_start_says_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "filterd.toml"
    config.write_text(text)
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "api", "--config", str(config)], capture_output=True, text=True, timeout=START_SECONDS
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - started < START_SECONDS
