"""Owns where the snapshots of syncs lie, and that one writer at a time puts them there.

Must not know what a sync does, nor what stands in a snapshot.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filterd.errors import FilterdError


class BusyError(FilterdError):
    """Another process is writing it."""


def snapshot_path(state_dir: Path, name: str) -> Path:
    """The snapshot of the [[ldap]] table of this name."""
    return state_dir / "directory" / f"ldap-{name}.snapshot"


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """One writer at a time, which finds nothing half written of one that was killed.  Raises BusyError, OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{path.name} is being written by another sync just now: wait for it") from None
        for left in path.parent.glob(f".{path.name}.*"):  # as write_snapshot names them
            with suppress(OSError):
                left.unlink()
        yield
