"""Owns a real PostgreSQL: own cluster below /tmp, a Unix socket and one port of loopback, as a user who is not root.

The databases belong to a role without rights of its own, as docs/postgresql.md tells.  What was written is not synced: the
machine does not die here.  Needs Debian's postgresql.  Not part of the product.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg

from tests.conftest import server_binary
from tests.support.daemon import free_port, wait_until

ROLE = "filterd"
PASSWORD = "of the tests"
_SUPERUSER = "postgres"
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "listen_addresses": "127.0.0.1",
}
_ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass
class Postgres:
    """Attributes: `folder` has the cluster, its socket and its log; `port` is that of loopback; `shared` is a database
    that tests leave behind as they like, and that each empties first (storage.py)."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    shared: str | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self) -> None:
        """Start and wait until it answers.  The port stays what it was; for a new one others are tried.

        It ends with the thread that calls this.
        """
        for _ in range(3):
            port = self.port or free_port()
            wait_until(
                partial(_is_free, port), 30, f"port {port}"
            )  # a client may have got it, from the kernel, meanwhile
            with (self.folder / "log").open("ab") as log:
                options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
                where = ["-D", str(self.folder / "data"), "-k", str(self.folder), "-p", str(port)]
                self.process = _popen(["postgres", *where, *options], log.fileno())
            wait_until(partial(self._settled, port), 60, "PostgreSQL to answer")
            if not self._gone():
                self.port = port
                return
        raise AssertionError(
            f"PostgreSQL does not start: {(self.folder / 'log').read_text('utf-8', 'replace')[-2000:]}"
        )

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it: SIGINT breaks the connections off and writes what is to be written, SIGQUIT is a crash."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)

    def connect(self, database: str = "postgres", user: str = _SUPERUSER) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of its own, in which each statement is a transaction."""
        where = {"host": str(self.folder), "port": self.port, "dbname": database, "user": user}
        return psycopg.connect(**where, autocommit=True, connect_timeout=10)

    def url(self, database: str, tcp: bool = False) -> str:
        """What stands in storage.url: over the socket, or over TCP with the password."""
        if tcp:
            return f"postgresql+psycopg://{ROLE}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"
        return f"postgresql+psycopg://{ROLE}@/{database}?host={self.folder}&port={self.port}"

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """Name of a new, empty database of ROLE, which goes at the end of the block; `options` of CREATE DATABASE."""
        name = self.new_database(options)
        try:
            yield name
        finally:
            if self._gone():
                self.start()
            with self.connect() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def new_database(self, options: str = "") -> str:
        """Name of a new, empty database of ROLE, which stays as long as the server."""
        name = f"filterd_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE template0 {options}".encode())
        return name

    def _gone(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _settled(self, port: int) -> bool:
        return self._gone() or self._answers(port)

    def _answers(self, port: int) -> bool:
        try:
            with psycopg.connect(host=str(self.folder), port=port, dbname="postgres", user=_SUPERUSER):
                return True
        except psycopg.OperationalError:
            return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _account() -> str | None:
    """Whom it runs as: PostgreSQL refuses root, and Debian's package has made a user for it."""
    return "postgres" if os.geteuid() == 0 else None


def _popen(command: list[str], output: int) -> subprocess.Popen[bytes]:
    binary = server_binary(command[0])
    assert binary is not None
    user = _account()
    group = pwd.getpwnam(user).pw_gid if user else None
    groups = [] if user else None
    # It ends with us, also when we are killed (prctl(2), PR_SET_PDEATHSIG: "us" is the thread).
    bound = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    return subprocess.Popen(
        [*bound, binary, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        user=user,
        group=group,
        extra_groups=groups,
    )


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server with the role, until the block ends.

    Its folder is directly below /tmp: the name of a socket has 107 octets at most (unix(7)).
    """
    folder = Path(tempfile.mkdtemp(prefix="filterd-pg-", dir="/tmp"))
    server = Postgres(folder)
    try:
        if user := _account():
            shutil.chown(folder, user)
        with (folder / "log").open("ab") as log:
            where = ["-D", str(folder / "data"), "-U", _SUPERUSER, "--auth=trust", "--no-sync"]
            status = _popen(["initdb", *where, "--encoding=UTF8", "--locale=C.UTF-8"], log.fileno()).wait(120)
        assert status == 0, (folder / "log").read_text("utf-8", "replace")[-2000:]
        (folder / "data" / "pg_hba.conf").write_text(_ACCESS)
        server.start()
        with server.connect() as connection:
            connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'".encode())
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
