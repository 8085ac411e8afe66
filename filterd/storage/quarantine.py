"""Owns nothing but the door: everything that callers need of the quarantine, under one name."""

from __future__ import annotations

from filterd.storage.browse import (
    CopyState,
    QuarantineCopy,
    QuarantineItem,
    body,
    get,
    list_quarantine,
    prepended,
)
from filterd.storage.release import delete, expire, release

__all__ = [
    "CopyState",
    "QuarantineCopy",
    "QuarantineItem",
    "body",
    "delete",
    "expire",
    "get",
    "list_quarantine",
    "prepended",
    "release",
]
