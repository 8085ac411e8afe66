"""Owns the place of a mail process in its state_dir: a name that one living process has, and what dead ones left open there.

A slot keeps its name over restarts, so that the successor of a dead process finds the messages that it had in hand.  Every node has
a worker smtp-0: in a database of several nodes the name of the node stands beside it, else one would close what another has in hand.
Must not know mail.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

from filterd.config import Config
from filterd.errors import FilterdError
from filterd.storage import recovery
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, now_ms

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
_SHOWN = 50  # ids of closed messages in one log line
_NODE = re.compile(r"[0-9a-f]{12}")  # random: nobody has to name nodes, and two are never alike
# A node that is gone for good never comes back to close what it had in hand.  No hand-over takes nearly as long (engine/handoff.py).
_ABANDONED_MS = 86_400_000


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
        self._node = "" if config.storage.is_of_one_node else _node(config.state_dir)

    @property
    def owner(self) -> str:
        """The slot as the ledger names it."""
        return self._owner(self.name)

    def recover(self, database: Database, custody: SqlCustody, boot_id: str) -> None:
        """Close what earlier processes of this slot left open; the first worker's also what vanished workers left.

        Raises StorageError.
        """
        closed = custody.recover(self.owner, boot_id)
        if self._node:  # from the days when this database had one node
            closed += custody.recover(self.name, boot_id)
        if self.name == worker_slot(0):  # with fewer workers than before nobody else would
            present = {self._owner(worker_slot(number)) for number in range(self._config.server.workers)}
            for vanished in recovery.open_slots(database) - present:
                name, _, node = vanished.partition("@")
                if node in ("", self._node):
                    with _lock(self._config.state_dir, name) or nullcontext() as free:
                        closed += custody.recover(vanished, boot_id) if free else []
            closed += recovery.abandon(database, now_ms() - _ABANDONED_MS) if self._node else []
        if closed:
            log.warning("closed what an earlier process left open", extra={"slot": self.name, "ids": closed[:_SHOWN]})

    def _owner(self, name: str) -> str:
        return f"{name}@{self._node}" if self._node else name

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


def _node(state_dir: Path) -> str:
    """The name of this node, made when there is none, by one of several processes that ask at once.

    Raises OSError, and FilterdError when something else stands there.
    """
    path = state_dir / "run" / "node"  # the folder is there: it has the locks
    if not path.exists():
        beside = path.with_name(f"node.{secrets.token_hex(4)}")
        with beside.open("x", encoding="ascii") as file:
            file.write(secrets.token_hex(6))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first
            path.hardlink_to(beside)
        beside.unlink()
    found = path.read_text(encoding="ascii", errors="replace")
    if not _NODE.fullmatch(found):
        raise FilterdError(f"{path}: expected the name of this node, 12 hexadecimal digits; remove the file")
    return found
