"""Owns the place of a mail process in its state_dir: a name that one living process has, and what dead ones left open there.

A slot keeps its name over restarts, so that the successor of a dead process finds the messages that it had in hand.
Must not know mail.
"""

from __future__ import annotations

import fcntl
import logging
import re
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from filterd.config import Config
from filterd.errors import FilterdError
from filterd.storage import recovery
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
_SHOWN = 50  # ids of closed messages in one log line


def worker_slot(number: int) -> str:
    """The slot of the supervisor's worker `number`, from 0."""
    return f"smtp-{number}"


class Slot:
    """A slot that this process has until `release`."""

    def __init__(self, config: Config, name: str) -> None:
        """Take it.  Raises FilterdError when the name cannot be used or a living process has it."""
        self.name = name
        self._config = config
        lock = _lock(config.state_dir, name)
        if lock is None:
            raise FilterdError(f"slot {name} is in use by another process of this state_dir; give --slot another name")
        self._lock = lock

    def recover(self, database: Database, custody: SqlCustody, boot_id: str) -> None:
        """Close what earlier processes of this slot left open; the first worker's also what vanished workers left.

        Raises StorageError.
        """
        closed = custody.recover(self.name, boot_id)
        if self.name == worker_slot(0):  # with fewer workers than before nobody else would
            present = {worker_slot(number) for number in range(self._config.server.workers)}
            for vanished in recovery.open_slots(database) - present:
                with _lock(self._config.state_dir, vanished) or nullcontext() as free:
                    closed += custody.recover(vanished, boot_id) if free else []
        if closed:
            log.warning("closed what an earlier process left open", extra={"slot": self.name, "ids": closed[:_SHOWN]})

    def release(self) -> None:
        """Let another process have it."""
        self._lock.close()


def _lock(state_dir: Path, name: str) -> IO[bytes] | None:
    """The lock of a slot, held as long as the file is open; None when a living process has it."""
    if not _NAME.fullmatch(name):
        raise FilterdError(f"slot: expected letters, digits and - . _, found {name[:80]!r}")
    folder = state_dir / "run"
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{name}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
