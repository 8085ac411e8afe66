"""Owns the words of the attachment library: kinds of findings, their bounds, and the budget that all readers share.

Must not know any file format, nor what a finding costs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_MAX_SHOWN = 200  # characters of a path or a detail that are kept
_MAX_NAME = 80  # of one name in a path


class Kind(StrEnum):
    """What can be found about one file."""

    # by name or true type
    EXECUTABLE = "executable"
    SCRIPT = "script"
    SHORTCUT = "shortcut"
    SYSTEM = "system"  # settings, help and installer files that Windows acts upon
    DATABASE = "database"  # Access files: they may hold code
    UNCOMMON = "uncommon"  # blocked by Outlook for reasons that do not hold for mail servers: source code, certificates
    DISK_IMAGE = "disk_image"
    DISGUISED = "disguised"  # double extension, turned direction, blanks, or octets that contradict the name
    # by what is inside
    AUTO_MACRO = "auto_macro"  # runs when the document is opened or closed
    MACRO = "macro"
    ACTIVE = "active"  # embedded programs, remote templates, equation editor objects
    SMUGGLING = "smuggling"  # HTML that assembles a file in the reader's browser
    # archives
    ENCRYPTED = "encrypted"
    PASSWORD_IN_TEXT = "password_in_text"  # noqa: S105 - no password; encrypted, and the text gives a password
    BOMB = "bomb"
    UNREADABLE = "unreadable"
    UNFINISHED = "unfinished"  # whoever looked at it ran out of CPU time or memory, or died


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one file.

    Attributes:
        path: names from the attachment to the file inside it, "invoice.zip > invoice.pdf.exe"; printable, bounded.
        detail: what was seen, for people; printable, bounded.
    """

    kind: Kind
    path: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one attachment may cost; what exceeds it is a finding.

    Attributes:
        members: files inside, of all levels together.
        depth: archives inside archives; 1 is an archive of plain files.
        ratio: unpacked octets for each octet of the attachment, beyond which it is a bomb (deflate's own limit: 1032).
        unpacked: octets that are unpacked, all files and levels together.
    """

    members: int = 10_000
    depth: int = 6
    ratio: int = 250
    unpacked: int = 268_435_456


class BadArchiveError(Exception):
    """The octets do not follow their format, or use a part of it that is not read here; the text says which."""


class BombError(Exception):
    """A bound is passed that no honest archive passes; the text says which."""


class BudgetError(Exception):
    """So much is inside that the rest is not looked at."""


@dataclass(slots=True)
class Member:
    """One file inside another.

    Attributes:
        size: unpacked octets as the container claims them, -1 when it does not.
        encrypted: its octets need a password.
        read: the first octets, at most as many as asked for; None when this library cannot unpack them.
        aliases: further names that the container gives to the same file.
        quiet: a part of a document, no file that people open: its name says nothing.
    """

    name: str
    size: int = -1
    encrypted: bool = False
    read: Callable[[int], bytes] | None = None
    aliases: tuple[str, ...] = ()
    quiet: bool = False


_HARMLESS = 67_108_864  # octets: what unpacks to less fills no disk and no memory, whatever its ratio


class Budget:
    """What is left of the bounds for one attachment."""

    def __init__(self, bounds: Bounds, size: int) -> None:
        self._bounds = bounds
        self._size = max(size, 1)
        self._members = 0
        self._claimed = 0
        self._unpacked = 0

    @property
    def left(self) -> int:
        """Octets that may still be unpacked."""
        return max(self._bounds.unpacked - self._unpacked, 0)

    def member(self, size: int) -> None:
        """One more file, of `size` octets as claimed (-1: unknown).  Raises BombError."""
        self._members += 1
        if self._members > self._bounds.members:
            raise BombError(f"more than {self._bounds.members} files")
        self._claimed += max(size, 0)
        self._weigh(self._claimed)

    def unpacked(self, size: int) -> None:
        """`size` octets more were unpacked.  Raises BombError or BudgetError."""
        self._unpacked += size
        self._weigh(self._unpacked)
        if self._unpacked > self._bounds.unpacked:
            raise BudgetError(f"more than {self._bounds.unpacked} octets inside")

    def depth(self, depth: int) -> None:
        """An archive at that depth is about to be opened.  Raises BombError."""
        if depth > self._bounds.depth:
            raise BombError(f"more than {self._bounds.depth} archives inside each other")

    def _weigh(self, octets: int) -> None:
        if octets > _HARMLESS and octets > self._size * self._bounds.ratio:
            raise BombError(f"{self._size} octets unpack to {octets} or more")


def shown(text: str, limit: int = _MAX_SHOWN) -> str:
    """`text` as it may stand in logs: what is not printable or turns the direction is escaped, the middle cut out."""
    text = text[:1000]
    safe = "".join(c if _is_plain(c) else f"\\u{ord(c):04x}" for c in text)
    return safe if len(safe) <= limit else f"{safe[: limit // 2 - 2]}...{safe[-(limit // 2 - 1) :]}"


def _is_plain(character: str) -> bool:
    return character == " " or unicodedata.category(character)[0] not in "CZ"


def shown_path(names: tuple[str, ...]) -> str:
    """The way to a file inside others: the outermost names and the last ones, which say most."""
    parts = [shown(name, _MAX_NAME) or "(no name)" for name in names]
    if len(parts) > 4:
        parts = [parts[0], "...", *parts[-2:]]
    return shown(" > ".join(parts), 2 * _MAX_SHOWN)
