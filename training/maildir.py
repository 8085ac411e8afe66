"""Owns how a Maildir is read: cur and new, flags, folders below it (Maildir++), and which of its mail has a label at all.

Must not know features or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from training.readers import CorpusError, Item

# Names of folders, in lower case, as mail programs and Exchange make them.
JUNK = frozenset({"junk", "spam", "junk mail", "junk-mail", "junk e-mail", "junk-e-mail", "junk email", "bulk mail"})
# What nobody received, what says nothing about what its owner thinks of it, or both.
_UNLABELLED = frozenset(
    {"sent", "sent items", "sent mail", "sent messages", "drafts", "draft", "templates", "outbox", "trash", "deleted"}
    | {"deleted items", "deleted messages", "quarantine"}
)
_FLAGS = re.compile(r"[:;!]2,([A-Za-z]*)$")  # ";" and "!" where a file system has no ":"
_SEEN, _DRAFT, _TRASHED = "S", "D", "T"


def is_maildir(folder: Path) -> bool:
    """Whether it has what every Maildir has."""
    return (folder / "cur").is_dir() and (folder / "new").is_dir()


def read_one(folder: Path, *, spam: bool) -> list[Item]:
    """The messages of one Maildir, without folders below it, under one label; no drafts, nothing marked as deleted."""
    if not is_maildir(folder):
        raise CorpusError(f"{folder} is no Maildir: it has no cur and new")
    return [
        Item(spam, f"{folder.resolve().name}/{file.relative_to(folder)}", file)
        for file, flags in _messages(folder)
        if not {_DRAFT, _TRASHED} & flags
    ]


def read_maildir(folder: Path) -> list[Item]:
    """A person's whole Maildir, labelled by what he did: what lies in a junk folder is spam; ham is what he has seen and left elsewhere.

    Unread mail outside of junk folders is left out: nobody has said yet that it is no spam.  So are drafts, mail sent, and what
    is deleted or marked so.
    """
    if not is_maildir(folder):
        raise CorpusError(f"{folder} is no Maildir: it has no cur and new")
    items = []
    home = folder.resolve().name
    below = sorted(entry for entry in folder.iterdir() if entry.name.startswith(".") and is_maildir(entry))
    for place in (folder, *below):
        names = {part.strip().lower() for part in place.name.split(".")} if place is not folder else set()
        spam = bool(names & JUNK)
        if names & _UNLABELLED and not spam:
            continue
        for file, flags in _messages(place):
            if not {_DRAFT, _TRASHED} & flags and (spam or _SEEN in flags):
                items.append(Item(spam, f"{home}/{file.relative_to(folder)}", file))
    return items


def _messages(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    for part in ("cur", "new"):
        for file in sorted((folder / part).iterdir()):
            if not file.name.startswith(".") and file.is_file():
                match = _FLAGS.search(file.name)
                yield file, set(match[1]) if match else set()
