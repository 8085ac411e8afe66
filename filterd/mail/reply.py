"""Owns what may be said to an SMTP client: code, enhanced status code, public text, reference.  RFC 5321 4.2, RFC 3463.

Must not know why it is said.  Public text names no mechanism beyond what the sender's postmaster can act on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from filterd.errors import FilterdError

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")  # RFC 3463 section 2
_MAX_TEXT = 400  # RFC 5321 4.5.3.1.5 allows 512 octets a line; code, reference and CRLF want room


class BadReplyError(FilterdError):
    """A reply was built whose parts contradict each other: a fault of ours, found when it is built."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply.

    Attributes:
        code: 200..599.
        enhanced: enhanced status code; its class equals the first digit of `code`.  Empty for 3yz and greetings.
        text: one line of printable ASCII without CR or LF.
        reference: the id under which our log has the details; printed at the end in brackets.
        close: whether the connection ends after this reply.
        delay_seconds: how long the front end keeps it back (tarpit).
    """

    code: int
    enhanced: str
    text: str
    reference: str = ""
    close: bool = False
    delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise BadReplyError(f"reply code {self.code} is outside 200..599")
        if self.enhanced:
            if not _ENHANCED.fullmatch(self.enhanced):
                raise BadReplyError(f"enhanced status code {self.enhanced!r} is malformed")
            if self.enhanced[0] != str(self.code)[0]:
                raise BadReplyError(f"class of {self.enhanced} differs from {self.code}")
        if not (self.text.isascii() and self.text.isprintable()) or len(self.text) > _MAX_TEXT:
            raise BadReplyError(f"reply text is not one short line of printable ASCII: {self.text[:60]!r}")

    @property
    def is_success(self) -> bool:
        """2yz."""
        return 200 <= self.code < 300

    @property
    def is_temporary(self) -> bool:
        """4yz: the client keeps the message and tries again."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: the client reports the failure to its sender."""
        return self.code >= 500

    def with_reference(self, reference: str) -> Reply:
        """The same reply under our id."""
        return replace(self, reference=reference)

    def __str__(self) -> str:
        parts = [str(self.code)]
        if self.enhanced:
            parts.append(self.enhanced)
        parts.append(self.text)
        line = " ".join(parts)
        return f"{line} [{self.reference}]" if self.reference else line


def printable(text: str, limit: int = _MAX_TEXT) -> str:
    """`text` made fit for a reply: one line of printable ASCII, at most `limit` characters."""
    clean = "".join(c if c.isascii() and c.isprintable() else " " for c in text)
    return " ".join(clean.split())[:limit]
