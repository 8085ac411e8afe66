"""Owns where the octets of incoming messages lie: memory up to a bound, then an unnamed temporary file that is mapped.

Must not know SMTP.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from filterd.mail.message import WholeOctets


class SpoolRoom:
    """How much the spools of one worker may hold together.

    Attributes:
        memory, disk: octets in use now.
    """

    def __init__(self, folder: Path, each_bytes: int, memory_bytes: int, disk_bytes: int) -> None:
        """`folder` gets the files and is made when it is first needed; `each_bytes` of a message may be in memory."""
        self.folder = folder
        self.each_bytes = each_bytes
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes
        self.memory = 0
        self.disk = 0


class Spool:
    """Takes pieces, gives the whole.  An OSError (disk full, no room) goes up from `write` and `finish`; then nothing is kept.

    What it gives counts against the room until `close`, so close it when the message is no longer needed.
    """

    def __init__(self, room: SpoolRoom, each_bytes: int = 0) -> None:
        """Up to `each_bytes` octets stay in memory, when not given as many as the room says."""
        self._room = room
        self._each_bytes = each_bytes or room.each_bytes
        self._pieces: list[bytes] = []
        self._memory = 0
        self._disk = 0
        self._file: BinaryIO | None = None

    def write(self, piece: bytes) -> None:
        """Append.  Raises OSError."""
        room, size = self._room, len(piece)
        if self._file is None:
            if self._memory + size <= self._each_bytes and room.memory + size <= room.memory_bytes:
                self._pieces.append(piece)
                self._memory += size
                room.memory += size
                return
            self._to_file()
        self._append(piece)

    def _to_file(self) -> None:
        self._room.folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=self._room.folder)  # noqa: SIM115 - open until close()
        pieces, self._pieces = self._pieces, []
        self._room.memory -= self._memory
        self._memory = 0
        for piece in pieces:
            self._append(piece)

    def _append(self, piece: bytes) -> None:
        room = self._room
        if room.disk + len(piece) > room.disk_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert self._file is not None
        self._file.write(piece)
        self._disk += len(piece)
        room.disk += len(piece)

    def finish(self) -> WholeOctets:
        """Everything that was written; the file lives as long as its mapping.  Raises OSError."""
        if self._file is None:
            octets = b"".join(self._pieces)
            self._pieces.clear()
            return octets
        try:
            self._file.flush()
            return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        finally:
            self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def close(self) -> None:
        """Let go of everything and give the room back."""
        self._pieces.clear()
        self._close_file()
        self._room.memory -= self._memory
        self._room.disk -= self._disk
        self._memory = self._disk = 0
