"""The sandbox gives filterd a configuration that it accepts, and says clearly what did not start."""

from __future__ import annotations

import asyncio
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from filterd.config import load_config
from sandbox.daemon import Daemon, DaemonError, free_port, port_is_free


def test_the_configuration_is_accepted_and_complete(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, 1111, 2222, 3333, 4444)
    daemon.config.write_text(daemon.configuration(), encoding="utf-8")
    config = load_config(daemon.config)
    assert (config.listeners[0].port, config.api.port, config.upstream.port) == (1111, 2222, 3333)
    assert config.dns.servers == ("127.0.0.1:4444",)
    assert config.recipients.file == tmp_path / "recipients.txt"
    assert config.state_dir == tmp_path / "state"


def test_a_taken_port_is_seen() -> None:
    port = free_port()
    assert port_is_free("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)):
        assert not port_is_free("127.0.0.1", port)


def test_a_daemon_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, free_port(), free_port(), 1, 1, extra="[nonsense]\n")

    async def run() -> int:
        daemon.start()
        with pytest.raises(DaemonError, match="ended by itself") as caught:
            await daemon.ready()
        assert "nonsense" in str(caught.value)
        return await daemon.stop()

    assert asyncio.run(run()) != 0


def test_a_trace_is_waited_for(tmp_path: Path) -> None:
    """A refusal at RCPT stands in the ledger only after its session."""
    answers = [(404, b"{}"), (404, b"{}"), (200, b'{"id": "x"}')]

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v1/trace/06H0KD4VETRERFK6"
            assert self.headers["Authorization"] == "Bearer secret"
            status, body = answers.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        daemon = Daemon(tmp_path, 1, server.server_port, 1, 1)
        assert daemon.trace("06H0KD4VETRERFK6", "secret") == {"id": "x"}
        answers.append((401, b"{}"))
        with pytest.raises(DaemonError, match="401"):
            daemon.trace("06H0KD4VETRERFK6", "secret")
        server.shutdown()


def test_a_failing_command_is_reported(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, 1, 1, 1, 1)
    with pytest.raises(DaemonError, match="filterd trace 0123456789ABCDEF failed"):
        daemon.run("trace", "0123456789ABCDEF")
