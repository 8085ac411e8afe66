"""Owns two clamds: Debian's own with a signature made by hand, and a double that can be sick.  Not part of the product.

The real one runs below a folder, loopback only, without root, without freshclam.
"""

from __future__ import annotations

import asyncio
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import server_binary
from tests.support.daemon import free_port, wait_until
from tests.support.process import ServerProcess

# Harmless octets that the signatures below are about.
MARKER = b"filterd-harmless-malware-marker"
OTHER_MARKER = b"filterd-harmless-heuristic-marker"
# clamd adds .UNOFFICIAL to what does not come from ClamAV's own files.
NAME, OTHER_NAME = "Filterd.Test.Marker.UNOFFICIAL", "Filterd.Phishing.Marker.UNOFFICIAL"
# clamd.conf(5), signatures of the .ndb format: name, type of file (0: any), offset (any), octets.
_SIGNATURES = f"Filterd.Test.Marker:0:*:{MARKER.hex()}\nFilterd.Phishing.Marker:0:*:{OTHER_MARKER.hex()}\n"
# .hdb: MD5, size and name of whole files: the test file of eicar.org.
_FILES = "44d88612fea8a8f36de82e1278abb02f:68:Filterd.Test.Eicar\n"
_CONFIG = """\
Foreground yes
LocalSocket {folder}/clamd.ctl
TCPSocket {port}
TCPAddr 127.0.0.1
DatabaseDirectory {folder}/database
TemporaryDirectory {folder}
StreamMaxLength {limit}
MaxFileSize {file_limit}
MaxScanSize 100M
MaxThreads 4
"""


@dataclass
class Clamd(ServerProcess):
    """Debian's clamd."""

    folder: Path
    limit: str = "40M"
    file_limit: str = "100M"
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def unix(self) -> str:
        """As malware.clamd says it."""
        return f"unix:{self.folder}/clamd.ctl"

    @property
    def tcp(self) -> str:
        """As malware.clamd says it."""
        return f"tcp:127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers; another program may have taken the port meanwhile, then again with another."""
        binary = server_binary("clamd")
        assert binary is not None
        (self.folder / "database").mkdir(exist_ok=True)
        (self.folder / "database" / "test.ndb").write_text(_SIGNATURES)
        (self.folder / "database" / "test.hdb").write_text(_FILES)
        for _ in range(3):
            self.port = free_port()
            text = _CONFIG.format(folder=self.folder, port=self.port, limit=self.limit, file_limit=self.file_limit)
            (self.folder / "clamd.conf").write_text(text)
            with (self.folder / "log").open("wb") as log:
                command = [binary, "-c", str(self.folder / "clamd.conf")]
                self.process = subprocess.Popen(command, stdout=log, stderr=log)
            wait_until(lambda: self._gone() or "Self checking every" in self._log(), 60, "clamd to start")
            if not self._gone():
                return
        raise AssertionError(f"clamd does not start: {self._log()[-2000:]}")

    def _log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")


@contextmanager
def clamd(folder: Path, limit: str = "40M", file_limit: str = "100M") -> Iterator[Clamd]:
    """A running clamd until the block ends; `folder` must have a short path (unix(7): 107 octets)."""
    server = Clamd(folder, limit, file_limit)
    server.start()
    try:
        yield server
    finally:
        server.stop()


_EICAR = b"WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJ"  # as base64 begins
_KNOWN = {_EICAR: "Win.Test.EICAR_HDB-1", MARKER: NAME, OTHER_MARKER: OTHER_NAME}


@dataclass
class FakeClamd:
    """The same protocol in this process.

    Attributes:
        limit: StreamMaxLength.
        moods: how the next streams are treated, one each: hang, die (when a chunk has come), refuse (hang up at the
            request), error, garbage, endless, twice, number (another one), hasty (OK before the end).  Empty: well.
        sessions, streams: connections, and whole streams, so far.
        open: connections now.
        signatures: octets and their names.
    """

    path: Path
    limit: int = 1_000_000
    moods: list[str] = field(default_factory=list)
    sessions: int = 0
    streams: list[bytes] = field(default_factory=list)
    open: int = 0
    signatures: dict[bytes, str] = field(default_factory=lambda: dict(_KNOWN))
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def hang_up(self) -> None:
        """End every session."""
        for writer in self._writers:
            writer.close()

    @property
    def unix(self) -> str:
        """As malware.clamd says it."""
        return f"unix:{self.path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.sessions += 1
        self.open += 1
        self._writers.append(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, _Gone):
                await self._session(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\0") == b"zIDSESSION\0"
        number = 0
        while (request := await reader.readuntil(b"\0")) != b"zEND\0":
            number += 1
            if request == b"zVERSION\0":
                writer.write(b"%d: ClamAV 1.4.6/27800/Mon Nov 23 08:00:00 2026\0" % number)
                continue
            assert request == b"zINSTREAM\0", request
            mood = self.moods.pop(0) if self.moods else ""
            if mood == "refuse":
                return
            answer = await self._stream(reader, mood)
            writer.write(
                {
                    "error": b"%d: stream: Can't allocate memory ERROR\0" % number,
                    "garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n\0",
                    "endless": b"%d: stream: " % number + b"x" * 5000,
                    "twice": b"%d: stream: OK\0%d: stream: OK\0" % (number, number + 1),
                    "number": b"%d: stream: OK\0" % (number + 1),
                }.get(mood, b"%d: %s\0" % (number, answer))
            )
            if b"limit" in answer:
                return

    async def _stream(self, reader: asyncio.StreamReader, mood: str) -> bytes:
        data = b""
        while size := struct.unpack(">I", await reader.readexactly(4))[0]:
            data += await reader.readexactly(size)
            if len(data) > self.limit:
                return b"INSTREAM size limit exceeded. ERROR"
            if mood == "die":
                raise _Gone
            if mood == "hasty":
                return b"stream: OK"
        self.streams.append(data)
        if mood == "hang":
            await reader.read()
            raise _Gone
        found = next((name for marker, name in self.signatures.items() if marker in data), "")
        return f"stream: {found} FOUND".encode() if found else b"stream: OK"


class _Gone(Exception):
    """The double hangs up."""


@asynccontextmanager
async def fake_clamd(folder: Path, *moods: str, limit: int = 1_000_000) -> AsyncIterator[FakeClamd]:
    """The double, listening until the block ends."""
    fake = FakeClamd(folder / "fake.ctl", limit, list(moods))
    server = await asyncio.start_unix_server(fake.serve, fake.path)
    try:
        yield fake
    finally:
        server.close()
        fake.hang_up()
