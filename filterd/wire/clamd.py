"""Owns the words of clamd's protocol inside a session: requests and stream chunks out, replies in.  clamd(8), INSTREAM, IDSESSION.

Must not know sockets, nor what a find leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from filterd.mail.message import WholeOctets
from filterd.mail.reply import printable

# The z prefix: words and replies end with NUL, so that nothing in a name can end one early.
BEGIN = b"zIDSESSION\0"
END = b"zEND\0"
VERSION = b"zVERSION\0"
_STREAM = b"zINSTREAM\0"
_LAST_CHUNK = b"\0\0\0\0"

CHUNK = 131_072  # octets: what is copied and handed to the kernel at a time; larger ones made no scan faster
MAX_REPLY = 1024  # octets; a name has at most some hundred
_MAX_NAME = 200

_NUMBERED = re.compile(rb"([1-9][0-9]{0,9}): (.*)", re.DOTALL)


class BadClamdReplyError(Exception):
    """What came is no reply to what was asked."""


class Said(StrEnum):
    """What a reply to a stream means."""

    CLEAN = "clean"
    FOUND = "found"
    TOO_LARGE = "too_large"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class StreamReply:
    """A reply to one stream; `text` is the find's name or the error, printable."""

    said: Said
    text: str = ""


def stream_pieces(octets: WholeOctets) -> Iterator[bytes]:
    """The request for one scan in pieces of about CHUNK octets, each copied when it is asked for; never a half chunk."""
    head, position, size = _STREAM, 0, len(octets)
    while position < size:
        data = octets[position : position + CHUNK]
        position += len(data)
        last = _LAST_CHUNK if position >= size else b""
        yield b"".join((head, len(data).to_bytes(4, "big"), data, last))
        head = b""
    if not size:
        yield head + _LAST_CHUNK


class ReplyReader:
    """Collects the octets of one reply."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """The reply without its NUL, None while it is not whole.  Raises BadClamdReplyError: too long, or more than one."""
        self._buffer += data
        end = self._buffer.find(b"\0", 0, MAX_REPLY)
        if end < 0 and len(self._buffer) < MAX_REPLY:
            return None
        if end != len(self._buffer) - 1:
            what = "more than was asked for" if end >= 0 else f"more than {MAX_REPLY} octets without an end"
            raise BadClamdReplyError(f"{what}: {self.so_far}")
        return bytes(self._buffer[:end])

    @property
    def so_far(self) -> str:
        """What has come, shortened, for people."""
        return _shown(bytes(self._buffer[:_MAX_NAME]))


def read_numbered(reply: bytes, number: int) -> bytes:
    """The reply to the request of that number in its session.  Raises BadClamdReplyError."""
    match = _NUMBERED.fullmatch(reply)
    if match is None:
        raise BadClamdReplyError(f"no numbered reply: {_shown(reply)}")
    if int(match[1]) != number:
        raise BadClamdReplyError(f"reply {int(match[1])} to request {number}: {_shown(reply)}")
    return match[2]


def read_stream_reply(reply: bytes, number: int) -> StreamReply:
    """What clamd says about the stream that was request `number`.  Raises BadClamdReplyError for all that is no such reply."""
    text = read_numbered(reply, number)
    if text == b"stream: OK":
        return StreamReply(Said.CLEAN)
    if text.startswith(b"stream: ") and text.endswith(b" FOUND"):
        name = _shown(text[len(b"stream: ") : -len(b" FOUND")])
        if name:
            return StreamReply(Said.FOUND, name)
    if text.startswith(b"INSTREAM size limit exceeded") and text.endswith(b"ERROR"):
        return StreamReply(Said.TOO_LARGE)
    if text.endswith(b" ERROR"):
        return StreamReply(Said.ERROR, _shown(text[: -len(b" ERROR")]))
    raise BadClamdReplyError(f"neither OK nor FOUND nor ERROR: {_shown(reply)}")


def _shown(octets: bytes) -> str:
    return printable(octets.decode("ascii", "replace").strip(), _MAX_NAME)
