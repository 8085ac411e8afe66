"""Owns how list entries are written down: the lines of a file to import, and until when an entry counts.

Must not know where entries are kept.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

from filterd.errors import ConfigError, PermanentError
from filterd.storage.lists import NewEntry, check

MAX_BYTES = 16_777_216  # of a file: a few hundred thousand entries, what one transaction can well take
MAX_LINE = 1000
MAX_DAYS = 36_500.0  # a hundred years; "never" is 0
_MAX_PROBLEMS = 20  # shown; whoever gave the wrong file need not see each line of it
_DAY_MS = 86_400_000


def expiry_days(text: str, now_ms: int) -> int | None:
    """Unix milliseconds `text` days from `now_ms`; None, never, for 0.  Raises ValueError that says what is expected."""
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= MAX_DAYS:  # not a number is neither
        raise ValueError(f"days: expected a number from 0 (never expires) to {MAX_DAYS:.0f}, found {text[:80]!r}")
    return now_ms + round(days * _DAY_MS) if days else None


def expiry_until(text: str, now_ms: int) -> int:
    """Unix milliseconds of the end of that day in UTC.  Raises ValueError that says what is expected."""
    try:
        end = datetime.combine(date.fromisoformat(text) + timedelta(days=1), datetime.min.time(), UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"until: expected a date such as 2026-12-31, found {text[:80]!r}") from None
    expires = round(end.timestamp() * 1000)
    if expires <= now_ms:
        raise ValueError(f"until: expected today or later, found {text}")
    return expires


def read_entries(text: str, name: str, now_ms: int) -> list[NewEntry]:
    """The entries of a file: `allow|block network [days] [# comment]` a line; empty lines and those of # are skipped.

    Raises ConfigError with one problem for each bad line, that begins with `name` and the line's number.
    """
    entries: list[NewEntry] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = _entry(line, now_ms)
        except (ValueError, PermanentError) as error:
            if len(problems) == _MAX_PROBLEMS:
                raise ConfigError([*problems, f"{name}: and more"]) from None
            problems.append(f"{name}:{number}: {error}")
        else:
            if entry is not None:
                entries.append(entry)
    if problems:
        raise ConfigError(problems)
    return entries


def _entry(line: str, now_ms: int) -> NewEntry | None:
    if len(line) > MAX_LINE:
        raise ValueError(f"expected at most {MAX_LINE} characters, found {len(line)}")
    fields, _, comment = line.partition("#")
    words = fields.split()
    if not words:
        return None
    if len(words) not in (2, 3):
        raise ValueError(f"expected: allow or block, a network without blanks, days or none; found {fields[:80]!r}")
    expires = expiry_days(words[2], now_ms) if len(words) == 3 else None
    entry = NewEntry(words[1], words[0], comment.strip(), expires)
    check(entry)
    return entry
