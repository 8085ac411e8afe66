"""Owns the taking in of one message: octets into a decoder, what comes out into a spool, and until when the rest must come.

RFC 5321 4.5.3.2.5; RFC 3030.  Must not know the connection or replies beyond those about the message itself.
"""

from __future__ import annotations

from filterd.config import LimitsConfig
from filterd.frontends.smtp.spool import Spool, SpoolRoom
from filterd.mail.message import Message
from filterd.mail.reply import Reply
from filterd.wire.chunks import ChunkDecoder
from filterd.wire.dotstream import DotDecoder, Problem

LINGER_SECONDS = 5.0  # how long a pause may be while the rest of a refused message is thrown away
RATE_GRACE_SECONDS = 60.0  # before limits.data_min_rate counts: a slow start is no attack
REFUSALS = {
    Problem.BARE_CR: Reply(550, "5.6.11", "Message has a CR without LF; lines must end with CRLF", close=True),
    Problem.BARE_LF: Reply(550, "5.6.11", "Message has an LF without CR; lines must end with CRLF", close=True),
    Problem.NUL: Reply(550, "5.6.11", "Message has a NUL character", close=True),
    Problem.TOO_BIG: Reply(552, "5.3.4", "Message is larger than the announced SIZE"),
    Problem.LONG_LINE: Reply(500, "5.5.2", "Message has a line that is too long"),
}
_NO_ROOM = Reply(452, "4.3.1", "Insufficient system storage")


class Intake:
    """One message by DATA, or by BDAT in chunks.

    Attributes:
        over: the octets that were asked for (the message, or the chunk) have come.
        rest: octets behind them: the next commands.
        size: octets of the message so far.
    """

    def __init__(self, room: SpoolRoom, limits: LimitsConfig, max_bytes: int, chunking: bool, now: float) -> None:
        """`max_bytes` is the SIZE that was announced; `now` in seconds of the event loop, as everywhere here."""
        self.over = False
        self.rest = b""
        self.chunking = chunking
        self._limits = limits
        self._decoder: DotDecoder | ChunkDecoder = (
            ChunkDecoder(max_bytes, limits.line_bytes) if chunking else DotDecoder(max_bytes, limits.line_bytes)
        )
        self._spool = Spool(room, limits.spool_bytes)
        self._failed = False  # the spool could not keep it
        self._closed = False
        self._began = now
        self._octets = 0  # as they came

    @property
    def size(self) -> int:
        """Octets of the message so far."""
        return self._decoder.size

    @property
    def hopeless(self) -> bool:
        """Whether client and server may disagree about where the message ends, so that the rest need not be awaited."""
        return self._decoder.problem is not None and self._decoder.problem.fatal

    @property
    def refusal(self) -> Reply | None:
        """What is wrong with the message so far."""
        if self._decoder.problem is not None:
            return REFUSALS[self._decoder.problem]
        return _NO_ROOM if self._failed else None

    def begin_chunk(self, octets: int) -> None:
        """A BDAT command has announced `octets`."""
        assert isinstance(self._decoder, ChunkDecoder)
        self.over = False
        self._decoder.begin(octets)
        self.feed(b"")

    def feed(self, data: bytes) -> None:
        """Octets from the client."""
        self._octets += len(data)
        decoder = self._decoder
        self._keep(decoder.feed(data))
        self.over = decoder.chunk_done if isinstance(decoder, ChunkDecoder) else decoder.done
        if self.over:
            self.rest = decoder.rest

    def _keep(self, pieces: list[bytes]) -> None:
        if self._failed or self._closed:
            return
        try:
            for piece in pieces:
                self._spool.write(piece)
        except OSError:
            self._failed = True
            self._spool.close()

    def until(self, now: float) -> float:
        """When the next octets must be here: the pause, the whole time, and the minimum rate are all bounds."""
        limits = self._limits
        pause = LINGER_SECONDS if self._closed else limits.data_idle_seconds
        end = min(now + pause, self._began + limits.data_seconds)
        if limits.data_min_rate:
            end = min(end, self._began + RATE_GRACE_SECONDS + self._octets / limits.data_min_rate)
        return end

    def finish(self) -> tuple[Message, Reply | None]:
        """The message and the refusal that it needs; of a refused one only the beginning, or nothing."""
        if isinstance(self._decoder, ChunkDecoder) and self.over:  # a hopeless message may end within a chunk
            self._keep(self._decoder.finish())
        octets = None
        if not self._failed:
            try:
                octets = self._spool.finish()
            except OSError:
                self._failed = True
        return Message(octets if octets is not None else b""), self.refusal

    def close(self) -> None:
        """Let go of everything.  What still comes is thrown away."""
        self._closed = True
        self._spool.close()
