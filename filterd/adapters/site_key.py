"""Owns the site's key, under which addresses are kept: made at first use, readable by the service only.

Nodes that share a database share it: copy the file.  Must not know what is kept under it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from filterd.directory.keys import SITE_KEY_BYTES
from filterd.errors import ConfigError

_NAME = "site-key"


def path_of(state_dir: Path) -> Path:
    """The key's file."""
    return state_dir / "directory" / _NAME


def site_key(state_dir: Path) -> bytes:
    """The key; made when there is none, by one of several processes that ask at once.

    Raises ConfigError when it cannot be read or made, or is no key.
    """
    path = path_of(state_dir)
    try:
        if not path.exists():
            _make(path)
        found = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: the site key cannot be read or made: {error.strerror}"]) from None
    try:
        key = bytes.fromhex(found.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != SITE_KEY_BYTES:
        remedy = "restore it from a copy; without one remove it and the snapshots beside it, then sync and push again"
        raise ConfigError([f"{path}: expected {2 * SITE_KEY_BYTES} hexadecimal digits; {remedy}"])
    return key


def _make(path: Path) -> None:
    """Write a whole file beside it and link it there: nobody sees half a key, and the first one stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = path.parent.parent.stat()
    beside = path.with_name(f"{_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.geteuid() == 0:  # a command of root's must not make what the service cannot read
            os.chown(path.parent, owner.st_uid, owner.st_gid)
            os.chown(beside, owner.st_uid, owner.st_gid)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SITE_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(beside, path)
    finally:
        beside.unlink()
