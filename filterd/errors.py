"""Owns the exceptions that cross a room's border.  Must not know who raises or catches them."""

from __future__ import annotations


class FilterdError(Exception):
    """Anything that filterd itself can explain to the person who runs it."""


class ConfigError(FilterdError):
    """The configuration cannot be used: `problems` names each key, what was expected and what stands there."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class TemporaryError(FilterdError):
    """Something outside did not answer usefully now; asking later may help.

    `kind` is one short word for counters: timeout, servfail, refused, unreachable, busy, full, broken; budget and rate for
    what was not asked because somebody asks too much, unrecorded for what a replay does not know.
    """

    def __init__(self, text: str, kind: str = "broken") -> None:
        super().__init__(text)
        self.kind = kind


class PermanentError(FilterdError):
    """Something outside gave a final answer that cannot be used; asking again will not help."""


class StorageError(TemporaryError):
    """The ledger or the quarantine could not make something durable; nothing half-written is visible."""


class StorageFullError(StorageError):
    """No space is left for the ledger or the quarantine."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "full")


class ModelError(FilterdError):
    """A model file does not agree with its manifest, or the manifest with this program."""
