"""Owns one thing that waits for a commit, and the answer to whoever waits for it.  Must not know when what is committed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from filterd.errors import FilterdError, StorageError, StorageFullError
from filterd.ports import HeldMessage, MessageRecord
from filterd.storage.bodies import StoredBody
from filterd.storage.database import translate
from filterd.storage.entries import Ending, Rows


@dataclass(slots=True)
class Item:
    """One thing to commit, and who waits for it."""

    message: MessageRecord
    ending: Ending | None  # None: the message begins
    future: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop
    size: int = 0  # octets of the body; measured once, because its owner may close a mapped file at any time
    rows: Rows = field(default_factory=dict)
    body: StoredBody | None = None
    error: FilterdError | None = None
    doubtful: bool = False  # the rows may be there in spite of the error

    @property
    def held(self) -> HeldMessage | None:
        """The message to keep in the quarantine, if it ends there."""
        return self.ending.held if self.ending else None


def resolve(items: list[Item]) -> None:
    """Answer those who wait for these; in their own event loop."""
    for item in items:
        if item.future.done():  # cancelled
            continue
        if item.error is None:
            item.future.set_result(None)
        else:
            item.future.set_exception(_own_copy(item.error))


def _own_copy(error: FilterdError) -> FilterdError:
    """One exception for each waiter: a shared one would collect the tracebacks of all."""
    if isinstance(error, StorageFullError):
        copy: FilterdError = StorageFullError(str(error))
    elif isinstance(error, StorageError):
        copy = StorageError(str(error), error.kind)
    else:
        copy = StorageError(str(error))
    copy.__cause__ = error.__cause__
    return copy


def named_error(error: BaseException) -> FilterdError:
    """What went wrong, as an error of ours."""
    return error if isinstance(error, FilterdError) else translate(error)
