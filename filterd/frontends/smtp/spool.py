"""Owns where the octets of one incoming message lie: memory up to a bound, then an unnamed temporary file that is mapped.

Must not know SMTP.
"""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from pathlib import Path
from typing import BinaryIO

from filterd.mail.message import WholeOctets


class Spool:
    """Takes pieces, gives the whole.  An OSError (disk full) goes up from `write` and `finish`; then nothing is kept."""

    def __init__(self, memory_bytes: int, folder: Path) -> None:
        """Keep up to `memory_bytes` octets in memory; `folder` gets the file and is made when it is first needed."""
        self._memory_bytes = memory_bytes
        self._folder = folder
        self._pieces: list[bytes] = []
        self._size = 0
        self._file: BinaryIO | None = None

    def write(self, piece: bytes) -> None:
        """Append.  Raises OSError."""
        self._size += len(piece)
        if self._file is not None:
            self._file.write(piece)
            return
        self._pieces.append(piece)
        if self._size > self._memory_bytes:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - open until close()
            self._file.write(b"".join(self._pieces))
            self._pieces.clear()

    def finish(self) -> WholeOctets:
        """Everything that was written; the file lives as long as its mapping.  Raises OSError."""
        if self._file is None:
            octets = b"".join(self._pieces)
            self.close()
            return octets
        try:
            self._file.flush()
            return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._pieces.clear()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
