"""Owns the reading of an SMTP server's replies: lines in, Reply out.  RFC 5321 4.2, 4.2.1; RFC 2034; RFC 5321 4.1.1.1.

Foreign text is made printable before anything of ours sees it.  Must not know what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from filterd.errors import PermanentError
from filterd.mail.reply import Reply, printable

# RFC 5321 4.5.3.1.5 says 512 octets a line; real servers exceed it.  A hundred lines are far above any EHLO.
MAX_LINE = 2048
MAX_LINES = 100
MAX_TEXT = 400  # what mail.reply takes
_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:[ \t]+|$)")


class BadReplyLineError(PermanentError):
    """The server does not speak SMTP, or speaks without end."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """One reply as it came.

    Attributes:
        code: 200..599.
        lines: the text of each line, printable, enhanced status code still in it.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def reply(self) -> Reply:
        """The value for the rest of the program: one line of text, enhanced status code split off.

        An enhanced status code whose class contradicts the code is dropped: the code is what clients act on.
        """
        enhanced, texts = "", []
        for line in self.lines:
            match = _ENHANCED.match(line)
            if match:
                if match[1] == str(self.code)[0]:
                    enhanced = enhanced or f"{match[1]}.{match[2]}.{match[3]}"
                line = line[match.end() :]
            texts.append(line)
        return Reply(self.code, enhanced, _fit(" ".join(texts), MAX_TEXT))


class ReplyParser:
    """Cuts a stream into replies; holds at most one unfinished reply."""

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing of an unfinished reply is held."""
        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> list[RawReply]:
        """The replies that are complete now.  Raises BadReplyLineError; the parser is of no use afterwards."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE:
            raise BadReplyLineError("reply line is too long")
        replies = []
        for line in lines:
            reply = self._line(line.removesuffix(b"\r"))
            if reply is not None:
                replies.append(reply)
        return replies

    def _line(self, line: bytes) -> RawReply | None:
        match = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
        if match is None:
            raise BadReplyLineError(f"not an SMTP reply: {printable(line[:80].decode('latin-1'))!r}")
        if self._code not in (b"", match[1]):
            raise BadReplyLineError("the lines of one reply have different codes")
        if len(self._lines) >= MAX_LINES:
            raise BadReplyLineError("reply has too many lines")
        self._lines.append(_fit((match[3] or b"").decode("utf-8", "replace"), MAX_LINE))
        if match[2] == b"-":
            self._code = match[1]
            return None
        reply = RawReply(int(match[1]), tuple(self._lines))
        self._code, self._lines = b"", []
        return reply


def _fit(text: str, limit: int) -> str:
    """`text` printable and at most `limit` characters; nearly every reply is so already, and this is the hot path."""
    return text if len(text) <= limit and text.isascii() and text.isprintable() else printable(text, limit)


def parse_ehlo(lines: Sequence[str]) -> dict[str, str]:
    """Extension keyword (upper case) -> its parameters, from the lines of a 250 to EHLO; the first line is a greeting."""
    extensions: dict[str, str] = {}
    for line in lines[1:]:
        keyword, _, parameters = line.partition(" ")
        if keyword:
            extensions[keyword.upper()] = parameters.strip()
    return extensions
