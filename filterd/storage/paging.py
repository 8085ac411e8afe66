"""Owns pages of long lists: newest first, by key and not by number, so that new rows do not shift them.

Must not know what is listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_

from filterd.errors import PermanentError
from filterd.storage.functions import fold

T = TypeVar("T")
MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page.

    Attributes:
        items: at most `limit`, newest first.
        next_cursor: give it to get the following page; None on the last one.
    """

    items: tuple[T, ...]
    next_cursor: str | None


def check_limit(limit: int) -> int:
    """The limit, when it is usable; raises PermanentError that names the field."""
    if not 1 <= limit <= MAX_LIMIT:
        raise PermanentError(f"limit: expected 1 to {MAX_LIMIT}, found {limit}")
    return limit


def cursor_of(time_ms: int, key: str) -> str:
    """The cursor that continues after this row."""
    return f"{time_ms}.{key}"


def after(query: Select[Any], cursor: str | None, time: ColumnElement[int], key: ColumnElement[str]) -> Select[Any]:
    """The query limited to rows older than the cursor and ordered.  Raises PermanentError for a bad cursor."""
    if cursor is not None:
        head, dot, tail = cursor.partition(".")
        if not dot or not head.isascii() or not head.isdigit() or len(head) > 18:
            raise PermanentError("cursor: not one that a page gave")
        query = query.where(or_(time < int(head), and_(time == int(head), key < tail)))
    return query.order_by(time.desc(), key.desc())


def has(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a column contains `text`, without regard to case; % and _ mean themselves."""
    return fold(column).contains(text.lower(), autoescape=True)


def same(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a column is `text`, without regard to case."""
    return fold(column) == text.lower()
