"""Owns the files of bodies whose COMMIT failed, until it is certain whether their rows are there.

SQLite after a failed fsync and a crash, and PostgreSQL after a lost connection, may have committed what they called failed: a
file that was removed at once would be missing then.  The next COMMIT that succeeds settles it.  Used by the writer thread of
custody.py alone.  Must not know messages.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import select

from filterd.errors import StorageError
from filterd.storage.bodies import StoredBody
from filterd.storage.database import Database
from filterd.storage.schema import quarantine_bodies

MAX_DOUBTFUL = 100  # each keeps a file open; what is more is left to the sweep at the next start


class DoubtfulBodies:
    """Bodies that wait, oldest first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[StoredBody] = []
        self._provable = 0  # so many of them had their COMMIT before the last one that succeeded

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, body: StoredBody) -> None:
        """Its COMMIT failed; from now on it is ours."""
        self._waiting.append(body)

    def committed(self) -> None:
        """A COMMIT has succeeded after those of all who wait now."""
        self._provable = len(self._waiting)

    def settle(self) -> None:
        """Files with a row stay, those without one go, as far as that can be known.  Never raises for a sick disk."""
        if self._provable:
            old = self._waiting[: self._provable]
            with suppress(StorageError):  # the next one asks again
                known = self._with_row([body.file for body in old])
                for body in old:
                    if body.file in known:
                        body.keep()
                    else:
                        body.discard()
                del self._waiting[: self._provable]
        self._provable = 0
        self._leave_all_but(MAX_DOUBTFUL)

    def close(self) -> None:
        """The process ends: the files stay, and the sweep at the next start decides."""
        self._leave_all_but(0)

    def _leave_all_but(self, count: int) -> None:
        while len(self._waiting) > count:
            self._waiting.pop(0).keep()

    def _with_row(self, names: list[str | None]) -> set[str | None]:
        column = quarantine_bodies.c.file
        with self._database.read() as connection:
            return set(connection.scalars(select(column).where(column.in_(names))))
