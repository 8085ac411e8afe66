"""Owns what is remembered of one SMTP conversation for the protocol log: who said what when, in bounds.

No content of messages and no password ever comes here.  Must not know files.
"""

from __future__ import annotations

import re
import time
from collections import deque
from typing import Any, Literal, Protocol

Mode = Literal["off", "failures", "all"]

MAX_LINES = 400  # of the beginning of a conversation; a hundred messages over one connection
LAST_LINES = 50  # of its end: what went wrong stands there
MAX_TEXT = 512  # characters of a line; RFC 5321 4.5.3.1.4 and .5 have no longer ones without extensions
MAX_CHARACTERS = (
    40_000  # of the beginning: with the end 64 KB, so that 1000 conversations do not fill a worker's memory
)
MAX_IDS = 1000  # limits.transactions by default
_GOOD_ENDS = frozenset({"quit", "drain", "disconnect", "xclient"})
_AUTH = re.compile(
    r"(\W*+AUTH\b)(\W++[A-Z][A-Z0-9-]*)?(.*)", re.IGNORECASE | re.DOTALL
)  # also as no standard writes it
_MECHANISMS = frozenset({"PLAIN", "LOGIN", "CRAM-MD5", "NTLM", "GSSAPI", "EXTERNAL", "XOAUTH2", "OAUTHBEARER"})
_COMMAND = re.compile(
    r"(EHLO|HELO|MAIL|RCPT|DATA|BDAT|RSET|NOOP|QUIT|STARTTLS|VRFY|EXPN|HELP|XCLIENT)( |$)", re.IGNORECASE
)

Line = tuple[float, str, str]


class TranscriptSink(Protocol):
    """Where finished transcripts go."""

    def write(self, entry: dict[str, Any]) -> None:
        """Take one; never waits and never fails."""
        ...


class Transcript:
    """One conversation.  Each method costs about a microsecond, and nothing when the mode is off.

    Attributes:
        client: address of the client, as it is known at the end.
        failed: something was refused, or the conversation broke.
    """

    def __init__(
        self,
        sink: TranscriptSink | None,
        mode: Mode,
        listener: str,
        client: str,
        also: TranscriptSink | None = None,
        *,
        port: int = 0,
        server: str = "",
    ) -> None:
        """Begin now.  Without a sink nothing is kept, whatever the mode; `also` takes every conversation in any mode.

        `port`: of the client.  `server`: address and port that it has connected to.
        """
        self.client = client
        self.failed = False
        self._sink = sink if mode != "off" else None
        self._also = also
        self._kept = self._sink is not None or also is not None
        self._port, self._server = port, server
        self._all = mode == "all"
        self._listener = listener
        self._began = time.time()
        self._start = time.monotonic()
        self._lines: list[Line] = []
        self._last: deque[Line] = deque(maxlen=LAST_LINES)
        self._count = 0
        self._room = MAX_CHARACTERS
        self._auth = False
        self._ids: list[str] = []

    def heard(self, text: str) -> None:
        """A command of the client, without CRLF.

        What follows AUTH and its mechanism is left out, and what comes after it and is no command: a client whose AUTH was
        refused may say its password all the same.
        """
        if self._kept:
            text = text[:MAX_TEXT]
            if found := _AUTH.match(text):
                self._auth = True
                text = _without_password(found)
            elif self._auth and not _COMMAND.match(text):
                text = "***"
            self._add("C", text)

    def said(self, text: str) -> None:
        """A reply of ours, without the last CRLF."""
        if self._kept:
            # A goodbye because of a restart, or to make room, is no failure of this conversation.
            self.failed = self.failed or (text[:1] in ("4", "5") and not text.startswith("421 4.3.2"))
            self._add("S", text)

    def note(self, text: str, failed: bool = False) -> None:
        """Something that happened beside commands and replies."""
        if self._kept:
            self.failed = self.failed or failed
            self._add("*", text)

    def reference(self, message_id: str) -> None:
        """An id of ours that belongs to this conversation."""
        if self._kept and message_id and len(self._ids) < MAX_IDS and message_id not in self._ids[-1:]:
            self._ids.append(message_id)

    def close(self, reason: str) -> None:
        """The conversation is over, for one of the reasons of Session.close."""
        sinks = [self._also] if self._also is not None else []
        if self._sink is not None and (self._all or self.failed or reason not in _GOOD_ENDS):
            sinks.append(self._sink)
        self._sink, self._also, self._kept = None, None, False
        if not sinks:
            return
        left_out = self._count - len(self._lines) - len(self._last)
        between = [(0.0, "*", f"… {left_out} lines left out")] if left_out else []
        entry = {
            "at": round(self._began, 3),
            "listener": self._listener,
            "client": self.client,
            "port": self._port,
            "server": self._server,
            "ids": self._ids,
            "end": reason,
            "lines": [[round(at, 3), who, text] for at, who, text in [*self._lines, *between, *self._last]],
        }
        for sink in sinks:
            sink.write(entry)

    def _add(self, who: str, text: str) -> None:
        text = text[:MAX_TEXT]
        line = (time.monotonic() - self._start, who, text)
        self._count += 1
        if len(self._lines) < MAX_LINES and self._room > 0:
            self._room -= len(text)
            self._lines.append(line)
        else:
            self._last.append(line)


def _without_password(found: re.Match[str]) -> str:
    command, mechanism, rest = found[1], found[2] or "", found[3]
    if mechanism.strip().upper() not in _MECHANISMS:
        mechanism, rest = "", mechanism + rest  # the password itself may stand in its place
    return f"{command}{mechanism}{' ***' if rest.strip() else ''}"
