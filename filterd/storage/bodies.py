"""Owns the octets of quarantined messages: compressed in a row, or as a file that is safe on disk before its row.

A process holds a lock (flock) on each file it has written until the row is committed; the lock dies with the process,
so that a file without a row and without a lock is known to be left over.  Must not know why a message is held.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filterd.errors import StorageError
from filterd.faults import reach
from filterd.mail.message import Octets
from filterd.storage.database import Database, fsync_directory, translated

SMALL_BYTES = 65_536  # zlib level 6 costs below 2 ms up to here; above it level 1 (3-4 times faster) is used
_BLOCK = 262_144
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
SUFFIX = ".eml.z"
TEMPORARY = ".tmp"


@dataclass(slots=True)
class StoredBody:
    """Compressed octets of one message, waiting for their row.

    Attributes:
        size: octets before compression.
        sha256: of the octets before compression, hexadecimal.
        inline: zlib data for the row, None when they lie in `file`.
        file: path below the body folder, None when inline.
    """

    size: int
    sha256: str
    inline: bytes | None
    file: str | None
    _path: Path | None = None
    _lock: int = -1

    def keep(self) -> None:
        """The row is committed: let go of the file."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def discard(self) -> None:
        """The row was not written: remove the file.  Never raises; what cannot be removed is found by the audit."""
        if self._path is not None and self._lock >= 0:
            _unlink(self._path)
        self.keep()


def store(database: Database, message_id: str, chunks: Sequence[Octets]) -> StoredBody:
    """Compress the concatenation of `chunks`; write a file, durably, when it does not fit into a row.

    Blocks; the caller must end with keep() or discard().  Raises StorageError or StorageFullError; then no file is left.
    """
    if not _SAFE_ID.fullmatch(message_id):
        raise StorageError(f"not a message id: {message_id!r}")
    size = sum(len(chunk) for chunk in chunks)
    digest = hashlib.sha256()
    pieces = _compress(chunks, digest, 6 if size <= SMALL_BYTES else 1)
    packed = bytearray()
    for piece in pieces:
        packed += piece
        if len(packed) > database.inline_bytes:
            return _write_file(database, message_id, size, digest, packed, pieces)
    return StoredBody(size, digest.hexdigest(), bytes(packed), None)


def _compress(chunks: Sequence[Octets], digest: hashlib._Hash, level: int) -> Iterator[bytes]:
    packer = zlib.compressobj(level)
    for chunk in chunks:
        for start in range(0, len(chunk), _BLOCK):
            block = chunk[start : start + _BLOCK]
            digest.update(block)
            yield packer.compress(block)
    yield packer.flush()


def _write_file(
    database: Database, message_id: str, size: int, digest: hashlib._Hash, packed: bytearray, pieces: Iterator[bytes]
) -> StoredBody:
    database.check_space()
    name = body_name(message_id)
    final = database.body_dir / name
    body = StoredBody(size, "", None, name)
    with translated():
        final.parent.mkdir(mode=0o750, exist_ok=True)
        temporary, handle = _open_locked(final)
        body._path, body._lock = temporary, handle
        try:
            _write_all(handle, packed)
            for piece in pieces:
                _write_all(handle, piece)
            body.sha256 = digest.hexdigest()
            reach("bodies.written")
            os.fsync(handle)
            os.link(temporary, final)  # not rename: it would replace the body of another message with this id
            body._path = final
            os.unlink(temporary)
            fsync_directory(final.parent)
            fsync_directory(database.body_dir)
            reach("bodies.named")
        except BaseException:
            _unlink(temporary)
            body.discard()
            raise
    return body


def _open_locked(final: Path) -> tuple[Path, int]:
    """A new, locked temporary file beside `final`."""
    while True:
        temporary = final.with_name(f".{final.name}.{secrets.token_hex(8)}{TEMPORARY}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return temporary, handle
        os.close(handle)  # a sweep took it for a left-over before we had the lock


def _write_all(handle: int, octets: bytes | bytearray) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(handle, view) :]


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def body_name(message_id: str) -> str:
    """Path of a message's file below the body folder.

    Spread by the last two characters: those of an id are random, the first ones stay the same for years.
    """
    return f"{message_id[-2:].rjust(2, '0')}/{message_id}{SUFFIX}"


def unpack(octets: bytes, size: int, sha256: str) -> bytes:
    """The original octets; raises StorageError when they are not those that were stored."""
    packer = zlib.decompressobj()
    try:
        plain = packer.decompress(octets, size + 1)
    except zlib.error as error:
        raise StorageError(f"stored body is damaged: {error}") from None
    if len(plain) != size or hashlib.sha256(plain).hexdigest() != sha256:
        raise StorageError("stored body is damaged: size or SHA-256 differ from the record")
    return plain


def load(database: Database, size: int, sha256: str, inline: bytes | None, file: str | None) -> bytes:
    """The original octets of a row of quarantine_bodies, verified.  Raises StorageError."""
    if inline is None:
        if not file:
            raise StorageError("stored body has neither octets nor a file")
        with translated():
            inline = (database.body_dir / file).read_bytes()
    return unpack(inline, size, sha256)


def remove_file(database: Database, file: str | None) -> None:
    """Remove the file of a body whose row is gone."""
    if file:
        _unlink(database.body_dir / file)


def files(database: Database) -> Iterator[Path]:
    """Every file below the body folder that a body may lie in, temporary ones too; not those set aside."""
    for folder in sorted(database.body_dir.iterdir()) if database.body_dir.is_dir() else ():
        if folder.is_dir() and len(folder.name) == 2:
            yield from sorted(path for path in folder.iterdir() if path.is_file())


def lock_left_over(path: Path) -> int | None:
    """A locked handle of the file, or None when a living process is still writing it or it has gone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
