"""Owns a running filterd for functional tests: configuration, start, health, workers, stop.  Not part of the product."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 60.0


def free_port() -> int:
    """A TCP port of the kernel's choice that nobody else is given for a minute.

    A connection that the listening side closed leaves its port in TIME_WAIT: the kernel chooses it for no other socket
    meanwhile, but a server that names it (with SO_REUSEADDR, as servers do) gets it.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""  # the listening side was the first to close
    return port


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until `condition`; a failure names `what` was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)  # the pause of polling; the test goes on as soon as the condition holds
    raise AssertionError(f"after {seconds} s still waiting for {what}")


def greets(port: int) -> bool:
    """Whether an SMTP server answers there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            return sock.recv(512).startswith(b"220")
    except OSError:
        return False


@dataclass
class Daemon:
    """`filterd serve` with a configuration of its own below `folder`."""

    folder: Path
    upstream_port: int
    dns_port: int
    workers: int = 2
    extra: str = ""
    api: bool = False
    smtp_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "filterd.toml"

    def write_config(self) -> None:
        """All that a test needs; `extra` holds further tables."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"""
[server]
hostname = "filter.example.net"
workers = {self.workers}
drain_seconds = 5
[[listeners]]
port = {self.smtp_port}
[upstream]
port = {self.upstream_port}
connect_seconds = 5
command_seconds = 10
data_seconds = 30
[recipients]
accepted_domains = ["example.org"]
[dns]
servers = ["127.0.0.1:{self.dns_port}"]
[api]
enabled = {str(self.api).lower()}
port = {self.api_port}
{self.extra}
"""
        )

    def start(self) -> Daemon:
        """Start and wait for the greeting."""
        self.write_config()
        self.log = (self.folder / "log").open("ab")
        command = [sys.executable, "-m", "filterd", "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stderr=self.log, stdout=self.log, stdin=subprocess.DEVNULL)
        try:
            wait_until(
                lambda: self.process is not None and (self.process.poll() is not None or greets(self.smtp_port)),
                START_SECONDS,
                "the greeting",
            )
            assert self.process.poll() is None, self.log_text()[-3000:]
        except AssertionError:
            self.stop()
            raise
        return self

    def stop(self) -> int:
        """SIGTERM, wait, exit status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in children(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
            raise AssertionError("filterd did not stop: " + self.log_text()[-3000:]) from None
        finally:
            self.log.close()

    def smtp_workers(self) -> list[int]:
        """Process ids of the SMTP workers."""
        assert self.process is not None
        found = []
        for pid in children(self.process.pid):
            try:
                if b"--slot" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
            except OSError:
                continue
        return found

    def log_text(self) -> str:
        """Everything logged so far."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another filterd command on the same configuration."""
        command = [sys.executable, "-m", "filterd", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def audit(self) -> dict[str, Any]:
        """`filterd audit --json`."""
        done = self.command("audit", "--json")
        assert done.returncode in (0, 1), done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def trace(self, reference: str) -> dict[str, Any]:
        """`filterd trace ID --json`."""
        done = self.command("trace", reference, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
