"""Owns the processes of `serve`: N SMTP workers on shared ports and the side service; starts, restarts, stops them.

Binds every socket itself (one per worker, SO_REUSEPORT) and keeps them open, so that a worker that dies loses no waiting
connection: its successor inherits the same queue.  Must not know mail.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from filterd import parent
from filterd.adapters.signing_key import check_signing_keys
from filterd.adapters.tallies import SharedTallies
from filterd.adapters.upstream_tls import check_authorities
from filterd.config import ACTIVE_CONFIG, Config, ListenerConfig, load_config
from filterd.errors import ConfigError, FilterdError
from filterd.frontends.smtp.tls import check_certificates
from filterd.reloading import HANDOVER_GRACE_S, reloadable

log = logging.getLogger(__name__)

BACKLOG = 512
_FIRST_PAUSE_S = 0.2  # before a part that died is started again; doubles up to the last one
_LAST_PAUSE_S = 10.0
_STEADY_S = 3.0  # a part that lived this long had started well; its successor starts at once
_POLL_S = 0.1


def bind(listener: ListenerConfig) -> socket.socket:
    """A listening socket that may share its port with others of ours.  Raises FilterdError that names the key."""
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    # With the protocol named: asyncio sets TCP_NODELAY only on connections of such sockets.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((listener.address, listener.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        where = f"{listener.address}:{listener.port}"
        raise FilterdError(
            f"listeners ({listener.name}): cannot listen on {where}: {error.strerror}; choose another address or port"
        ) from None
    sock.setblocking(False)
    return sock


def refuse_taken(listener: ListenerConfig) -> None:
    """Another program on the port is an error; SO_REUSEPORT alone would share it with an older filterd."""
    if listener.port == 0:
        return
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listener.address, listener.port))
        except OSError as error:
            where = f"{listener.address}:{listener.port}"
            raise FilterdError(
                f"listeners ({listener.name}): cannot listen on {where}: {error.strerror}; choose another address or port"
            ) from None


@dataclass(slots=True)
class Part:
    """One child process."""

    name: str
    command: list[str]
    sockets: list[socket.socket] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = _FIRST_PAUSE_S
    start_at: float = 0.0
    restarts: int = 0


class Supervisor:
    """Runs the parts until it is told to stop."""

    def __init__(self, config: Config, path: Path) -> None:
        self._config = config
        self._path = path.resolve()
        self._parts: list[Part] = []
        self._tallies = -1  # file descriptor of the counters that the workers share
        self._stop = False
        self._reload = False
        self._metrics_dir = config.state_dir / "run" / "metrics"
        self._active = config.state_dir / "run" / "active-config.json"

    def run(self) -> int:
        """Start everything; returns the exit status after SIGTERM or SIGINT.  Raises FilterdError when a port is taken.

        Signing keys and what only outbound mail needs are not looked at: inbound mail must go on without them, and the parts say it.
        """
        check_certificates(self._config)
        check_authorities(self._config, inbound_only=True)
        self._plan()
        self._publish()
        shutil.rmtree(self._metrics_dir, ignore_errors=True)
        self._metrics_dir.mkdir(parents=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        while not self._stop:
            self._look_after()
            time.sleep(_POLL_S)
        return self._shut_down()

    def _publish(self) -> None:
        """Write down what the parts shall use, whole or not at all; a part that dies later is started with the same."""
        self._active.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._active.with_suffix(".tmp")
        temporary.write_text(self._config.model_dump_json())
        temporary.replace(self._active)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop = True

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self._reload = True

    def _plan(self) -> None:
        for group in self._config.endpoints:
            refuse_taken(group[0])
        self._tallies = SharedTallies.create(self._config.server.workers)
        base = [sys.executable, "-m", "filterd", "serve", "--config", str(self._path)]
        for slot in range(self._config.server.workers):
            sockets = [bind(group[0]) for group in self._config.endpoints]
            fds = ",".join(str(sock.fileno()) for sock in sockets)
            command = [*base, "--part", "smtp", "--slot", f"smtp-{slot}", "--fds", fds]
            command += ["--tallies", str(self._tallies)]
            self._parts.append(Part(f"smtp-{slot}", command, sockets))
        if self._config.api.enabled:
            # by name: the daemon must not import the side service
            self._parts.append(Part("api", [sys.executable, "-m", "api", "--config", str(self._path)]))
        else:  # held copies that upstream will take later must be delivered by somebody
            self._parts.append(Part("outbox", [*base, "--part", "outbox"]))

    def _look_after(self) -> None:
        now = time.monotonic()
        if self._reload:
            self._reload = False
            self._pass_on_reload()
        for part in self._parts:
            if part.process is not None and (status := part.process.poll()) is not None:
                lived = now - part.started
                steady = lived > _STEADY_S
                part.pause = _FIRST_PAUSE_S if steady else min(part.pause * 2, _LAST_PAUSE_S)
                part.start_at = now if steady else now + part.pause
                part.process = None
                part.restarts += 1
                log.error("part ended, starting it again", extra={"part": part.name, "status": status})
            if part.process is None and now >= part.start_at:
                self._start(part, now)

    def _start(self, part: Part, now: float) -> None:
        environment = {
            **os.environ,
            "FILTERD_SLOT": part.name,
            "FILTERD_METRICS_DIR": str(self._metrics_dir),
            parent.VARIABLE: str(os.getpid()),
            ACTIVE_CONFIG: str(self._active),
        }
        fds = tuple(sock.fileno() for sock in part.sockets)
        if part.sockets:
            fds += (self._tallies,)  # only who takes connections counts
        # A part that is still starting would die of SIGHUP: it is born with it held back, and lets it in when it is ready.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            # the command is our own interpreter with our own arguments
            part.process = subprocess.Popen(part.command, pass_fds=fds, env=environment, start_new_session=True)  # noqa: S603
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        part.started = now

    def _pass_on_reload(self) -> None:
        try:
            fresh = load_config(self._path)
        except ConfigError as error:
            log.error("new configuration refused, the old one stays", extra={"problems": error.problems})
            return
        fresh = reloadable(fresh, self._config)
        try:
            check_certificates(fresh)  # before it is published: a worker that dies must be able to start with it
            check_signing_keys(fresh)
            check_authorities(fresh)
        except ConfigError as error:
            log.error("new configuration refused, the old one stays", extra={"problems": error.problems})
            return
        self._config = fresh
        self._publish()
        for part in self._parts:
            if part.process is None:
                continue
            if part.name in ("api", "outbox"):
                part.process.terminate()  # it holds no mail in work; a new one starts with the new configuration
                part.start_at = 0.0
            else:
                part.process.send_signal(signal.SIGHUP)

    def _shut_down(self) -> int:
        running = [part for part in self._parts if part.process is not None]
        for part in running:
            assert part.process is not None
            part.process.terminate()
        deadline = time.monotonic() + self._config.server.drain_seconds + HANDOVER_GRACE_S + 10
        clean = True
        for part in running:
            assert part.process is not None
            try:
                part.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("part does not stop, killing it", extra={"part": part.name})
                part.process.kill()
                part.process.wait()
                clean = False
        return 0 if clean else 1
