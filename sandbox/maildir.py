"""Owns how a Maildir is written: tmp, fsync, rename.  Must not know where its messages come from."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path


def make_maildir(folder: Path) -> None:
    """Make the three folders of a Maildir where they are missing."""
    for name in ("tmp", "new", "cur"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def deliver(folder: Path, octets: bytes) -> Path:
    """Write one message to new/; when this returns, the file and its name are on disk.  Raises OSError."""
    name = f"{time.time_ns()}.{secrets.token_hex(6)}.sandbox"
    temporary, final = folder / "tmp" / name, folder / "new" / name
    with temporary.open("xb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(final)
    directory = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return final
