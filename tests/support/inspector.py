"""Owns the double of the Inspector: the same library, in this process.  Not part of the product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from filterd.content.attachments.finding import Finding
from filterd.content.attachments.inspect import inspect
from filterd.content.decode import decoded
from filterd.content.mime import Part
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.message import Message


@dataclass
class LibraryInspector:
    """Finds what the library finds; raises `error` when set.  `seen`: names of the parts it was asked about."""

    error: TemporaryError | None = None
    seen: list[str] = field(default_factory=list)

    async def inspect(
        self, message: Message, parts: Sequence[Part], passwords: Sequence[str], deadline: Deadline
    ) -> list[tuple[int, Finding]]:
        """See ports.Inspector."""
        self.seen += [part.name for part in parts]
        if self.error is not None:
            raise self.error
        if deadline.expired:
            raise TemporaryError("no time left", "timeout")
        return [
            (index, finding)
            for index, part in enumerate(parts)
            for finding in inspect(
                part.names, part.content_type, decoded(message, part, part.size), passwords=passwords
            )
        ]
