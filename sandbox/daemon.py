"""Owns one filterd as a process of its own: its folder, its configuration, its start, its stop and its command line.

Uses filterd as an administrator does: configuration file, ports, `filterd …`.  Must not know what is sent through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sandbox import world

_START_SECONDS = 60.0  # a cold start reads the model and the database on a slow disk
_DRAIN_SECONDS = 5.0
_POLL_SECONDS = 0.1
_COMMAND_SECONDS = 60.0
_RECORD_SECONDS = 10.0


class DaemonError(Exception):
    """filterd did not do what it was started for; the text is for the person who runs the sandbox."""


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Daemon:
    """`filterd serve` in `folder`, with the sandbox's names and the given ports.  All addresses are 127.0.0.1.

    Attributes:
        config: the configuration file, written by start().
        log: what it says on standard error.
        extra: more lines of the configuration file (whole tables that are not in it yet).
    """

    def __init__(
        self, folder: Path, smtp_port: int, api_port: int, upstream_port: int, dns_port: int, extra: str = ""
    ) -> None:
        self.folder = folder.resolve()
        self.host = "127.0.0.1"
        self.smtp_port = smtp_port
        self.api_port = api_port
        self.upstream_port = upstream_port
        self.dns_port = dns_port
        self.extra = extra
        self.config = self.folder / "filterd.toml"
        self.log = self.folder / "filterd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def configuration(self) -> str:
        """The text of the configuration file."""
        return f"""\
# Written by the sandbox at each start; see docs/configuration.md for every key.
[server]
hostname = "filter.{world.OUR_DOMAIN}"
state_dir = "state"
drain_seconds = {_DRAIN_SECONDS}

[[listeners]]
address = "{self.host}"
port = {self.smtp_port}

[upstream]
host = "{self.host}"
port = {self.upstream_port}

[recipients]
accepted_domains = ["{world.OUR_DOMAIN}"]
file = "recipients.txt"

[dns]
servers = ["{self.host}:{self.dns_port}"]

[[dnsbl]]
zone = "{world.DNSBL}"
weight = 8.0

[greylist]
enabled = false  # every sample shall show at its first attempt what becomes of it

[api]
address = "{self.host}"
port = {self.api_port}

[log]
format = "text"
{self.extra}"""

    def start(self) -> None:
        """Write the files and start the process; ready() tells when it works."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state").mkdir(exist_ok=True)
        self.config.write_text(self.configuration(), encoding="utf-8")
        (self.folder / "recipients.txt").write_text("\n".join(world.RECIPIENTS) + "\n", encoding="utf-8")
        with self.log.open("ab") as log:
            # a session of its own: Ctrl-C is ours, it gets SIGTERM from stop()
            self._process = subprocess.Popen(
                self._command("serve"), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def ready(self, seconds: float = _START_SECONDS) -> None:
        """Wait until the front door greets and the API is healthy.  Raises DaemonError with the end of the log."""
        waiting_for = "the SMTP greeting"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not await asyncio.to_thread(self._greets):
                    self._check_alive()
                    await asyncio.sleep(_POLL_SECONDS)
                waiting_for = "the API's health"
                while not await asyncio.to_thread(self._is_healthy):
                    self._check_alive()
                    await asyncio.sleep(_POLL_SECONDS)
                return
        raise DaemonError(
            f"filterd did not get ready in {seconds:.0f} s, still waiting for {waiting_for}.{self._tail()}"
        )

    def run(self, *arguments: str) -> Any:
        """`filterd ARGUMENTS --config … --json`, parsed.  Raises DaemonError when it fails."""
        command = [*self._command(*arguments), "--json"]
        done = subprocess.run(
            command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=_COMMAND_SECONDS
        )
        try:
            if done.returncode:
                raise ValueError(done.stderr.decode(errors="replace").strip())
            return json.loads(done.stdout)
        except ValueError as error:
            raise DaemonError(f"filterd {' '.join(arguments)} failed: {error}") from None

    def make_token(self) -> str:
        """A token for the API that allows everything for a day.  Raises DaemonError."""
        made = self.run("token", "create", "--name", "sandbox", "--scope", "admin", "--days", "1")
        return str(made["token"])

    def trace(self, reference: str, token: str) -> Any:
        """What the API knows of a message; waits for it, because a refusal at RCPT is recorded when its session ends.

        Raises DaemonError when it is not there in time.
        """
        url = f"http://{self.host}:{self.api_port}/v1/trace/{reference}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        deadline = time.monotonic() + _RECORD_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=_COMMAND_SECONDS) as answer:
                    return json.load(answer)
            except (OSError, ValueError) as error:
                missing = isinstance(error, urllib.error.HTTPError) and error.code == 404
                if not missing or time.monotonic() > deadline:
                    raise DaemonError(f"GET {url} failed: {error}") from None
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End it and all its parts at once, as a power failure would."""
        if self._process is not None:
            for pid in [*_children(self._process.pid), self._process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    async def stop(self) -> int:
        """Let it drain and end; its exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            status = await asyncio.to_thread(self._process.wait, _DRAIN_SECONDS + 15)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL
        self._process = None
        return status

    def _command(self, name: str, *arguments: str) -> list[str]:
        words = (name, *arguments)
        return [sys.executable, "-m", "filterd", *words, "--config", str(self.config)]

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.host, self.smtp_port), timeout=5) as sock:
                greeting = sock.recv(512)
                sock.sendall(b"QUIT\r\n")
                return greeting.startswith(b"220")
        except OSError:
            return False

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.api_port}/v1/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _check_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise DaemonError(f"filterd ended by itself.{self._tail()}")

    def _tail(self) -> str:
        """The end of the log, for an error text."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            return "".join(f"\n    {line[:300]}" for line in [f"The end of {self.log}:", *lines])
        return ""


def _children(pid: int) -> list[int]:
    """All processes below `pid`, from /proc; empty where there is none."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                found += [int(child), *_children(int(child))]
    return found
