"""Owns a stand-in for Exchange: an SMTP server that answers as its Front End does.

Mail is kept in a Maildir.  For trying filterd out and as the double of upstream in tests, which can change any answer.
RFC 5321, RFC 1870, RFC 3030, RFC 3207, RFC 3461.  Must not know filterd.  Not a mail server: it takes every recipient and every message that it is not told to refuse.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import secrets
import socket
import ssl
import time
from collections import Counter, deque
from pathlib import Path
from typing import Self

from sandbox.frontend import FrontEnd
from sandbox.maildir import deliver, make_maildir
from sandbox.receipts import Courier
from sandbox.session import KEYWORDS, SIZE, Session, hello
from sandbox.session import Received as Received

HANG_UP = ""  # as an answer: close the connection without one
_MAX_RECIPIENTS = 5000
_PATH = re.compile(r"(?i)\s*(?:FROM|TO):\s*<([^<>]*)>\s*(.*)")


class StandInExchange:
    """The server.  Use it as `async with StandInExchange(folder) as exchange:` and connect to `exchange.port`.

    Attributes:
        answers: step -> reply line (lines, for a multi-line reply, separated by LF) that replaces the usual one, or a
            list of replies that are used once each.  Steps: connect, ehlo, helo, starttls, mail, rcpt,
            "rcpt user@example.org" (goes before rcpt), data, bdat (a chunk that is refused, or is not the last), end-of-data (of
            DATA and of BDAT LAST), rset, quit.  HANG_UP closes the connection.
            After a 2yz end-of-data answer the message is kept, after any other it is not.
        hold: step -> event that is awaited before the step is answered.
        front_end: what it refuses, delays and removes by itself; everything is off at first.
        sessions: how many connections there have been.
        answered: the last reply to each receipt that was sent, or why there is none.
    """

    def __init__(
        self,
        maildir: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        hostname: str = "exchange.example.org",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.maildir = maildir
        self.host = host
        self.port = port
        self.hostname = hostname
        self.answers: dict[str, str | list[str]] = {}
        self.hold: dict[str, asyncio.Event] = {}
        self.front_end = FrontEnd()
        self._open: Counter[str] = Counter()
        self._received: deque[Received] = deque(maxlen=10_000)
        self._transcript: deque[str] = deque(maxlen=10_000)
        self.sessions = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._courier = Courier(self._tasks)

    # Copies, made in one step: whoever walks through them may be another thread than the server's.
    @property
    def received(self) -> tuple[Received, ...]:
        """The messages kept until now, oldest first (the last 10,000)."""
        return tuple(self._received)

    @property
    def transcript(self) -> tuple[str, ...]:
        """Command lines as received until now, without message data (the last 10,000)."""
        return tuple(self._transcript)

    @property
    def answered(self) -> tuple[str, ...]:
        """What came of the receipts sent until now, oldest first (the last 10,000)."""
        return tuple(self._courier.answered)

    async def start(self) -> None:
        """Make the Maildir and listen; `port` is then the real port.  Raises OSError when it cannot listen."""
        make_maildir(self.maildir)
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)  # not before: stop() waits for whoever still closes
        self.sessions += 1
        peer = writer.get_extra_info("socket")
        if peer is not None:  # replies are small and each is waited for
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        source = str((writer.get_extra_info("peername") or [""])[0])
        self._open[source] += 1
        try:
            await self._converse(Session(self.sessions, reader, writer), self.front_end.greeting(self._open[source]))
        except (ConnectionError, TimeoutError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client's business, or stop()
        finally:
            self._open[source] -= 1
            if task.cancelling():
                writer.transport.abort()
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _say(self, session: Session, step: str, usual: str, *more: str) -> str:
        """Answer a step with `usual`, or what `answers` has for it or for a name in `more`.  Returns what was said."""
        reply = usual
        for name in (*more, step):
            if name in self.hold:
                await self.hold[name].wait()
            if (planned := self.answers.get(name)) is None or planned == []:
                continue
            reply = planned.pop(0) if isinstance(planned, list) else planned
            break
        if reply == HANG_UP:
            raise ConnectionAbortedError(step)
        await self.front_end.tarpit(reply)
        session.writer.write(reply.replace("\n", "\r\n").encode() + b"\r\n")
        await session.writer.drain()
        return reply

    async def _converse(self, session: Session, refusal: str) -> None:
        if refusal:
            await self._say(session, "connect", refusal)
            return
        now = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
        await self._say(session, "connect", f"220 {self.hostname} Microsoft ESMTP MAIL Service ready at {now}")
        while True:
            line = await session.line()
            self._transcript.append(line)
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb == "QUIT":
                await self._say(session, "quit", "221 2.0.0 Service closing transmission channel")
                return
            if verb in ("EHLO", "HELO"):
                await self._hello(session, verb)
            elif verb == "STARTTLS" and self._tls is not None:
                await self._start_tls(session, self._tls)
            elif verb in ("NOOP", "RSET"):
                if verb == "RSET":
                    session.mail, session.chunks = None, None
                await self._say(session, verb.lower(), "250 2.0.0 OK" if verb == "NOOP" else "250 2.0.0 Resetting")
            elif verb == "BDAT":
                await self._chunk(session, rest)
            elif verb in ("MAIL", "RCPT", "DATA"):
                await self._transaction(session, verb, rest)
            else:
                await self._say(session, "unknown", "500 5.3.3 Unrecognized command")

    async def _hello(self, session: Session, verb: str) -> None:
        session.mail, session.chunks = None, None
        client = session.writer.get_extra_info("peername")[0]
        offers_tls = self._tls is not None and session.writer.get_extra_info("ssl_object") is None
        keywords = (*KEYWORDS, *(["STARTTLS"] if offers_tls else [])) if verb == "EHLO" else ()
        keywords = tuple(name for name in keywords if name != "DSN" or self.front_end.offers_dsn)
        usual = hello(f"{self.hostname} Hello [{client}]", keywords)
        session.greeted = (await self._say(session, verb.lower(), usual)).startswith("2")

    async def _start_tls(self, session: Session, context: ssl.SSLContext) -> None:
        if not (await self._say(session, "starttls", "220 2.0.0 SMTP server ready")).startswith("2"):
            return
        session.buffer.clear()  # RFC 3207 4.2: nothing from before counts
        session.greeted, session.mail, session.chunks = False, None, None
        await session.writer.start_tls(context)

    async def _transaction(self, session: Session, verb: str, rest: str) -> None:
        path = _PATH.fullmatch(rest)
        if not session.greeted:
            await self._say(session, verb.lower(), "503 5.5.2 Send hello first")
        elif verb == "MAIL":
            await self._mail(session, path)
        elif session.chunks is not None:
            await self._say(session, verb.lower(), "503 5.5.2 Bad sequence of commands: BDAT is under way")
        elif session.mail is None:
            await self._say(session, verb.lower(), "503 5.5.2 Need mail command")
        elif verb == "RCPT":
            if path is None or not path[1]:
                await self._say(session, "rcpt", "501 5.1.3 Invalid address")
            elif len(session.recipients) >= _MAX_RECIPIENTS:
                await self._say(session, "rcpt", "452 4.5.3 Too many recipients")
            else:
                usual = self.front_end.rcpt(path[1]) or "250 2.1.5 Recipient OK"
                if (await self._say(session, "rcpt", usual, f"rcpt {path[1].lower()}"))[0] == "2":
                    session.recipients.append((path[1], path[2]))
        elif not session.recipients:
            await self._say(session, "data", "503 5.5.2 Need rcpt command")
        elif (await self._say(session, "data", "354 Start mail input; end with <CRLF>.<CRLF>"))[0] == "3":
            await self._end_of_data(session, await session.message())

    async def _mail(self, session: Session, path: re.Match[str] | None) -> None:
        size = re.search(r"(?i)\bSIZE=(\d{1,20})", path[2]) if path else None
        if path is None:
            await self._say(session, "mail", "501 5.1.7 Invalid address")
        elif session.mail is not None:
            await self._say(session, "mail", "503 5.5.2 Sender already specified")
        elif size and int(size[1]) > SIZE:
            await self._say(session, "mail", "552 5.3.4 Message size exceeds fixed maximum message size")
        else:
            said = await self._say(session, "mail", await self.front_end.mail(path[1]) or "250 2.1.0 Sender OK")
            if said.startswith("2"):
                session.mail, session.recipients, session.chunks = (path[1], path[2]), [], None
            elif said.startswith("421"):
                raise ConnectionAbortedError(said)

    async def _chunk(self, session: Session, rest: str) -> None:
        """One chunk; it is read to its end whatever the answer is, because its octets are no commands."""
        asked = re.fullmatch(r"(?i)(\d{1,20})( LAST)?", rest.strip())
        if asked is None:
            # Where the octets end is unknown, so whatever follows could be part of them.
            await self._say(session, "bdat", "501 5.5.4 Invalid arguments")
            raise ConnectionAbortedError("BDAT without a size")
        size = int(asked[1])
        wanted = session.mail is not None and bool(session.recipients)
        chunks = session.chunks or bytearray()
        fits = len(chunks) + size <= SIZE
        octets = await session.chunk(size, keep=wanted and fits)
        if not wanted:
            await self._say(
                session,
                "bdat",
                "503 5.5.2 Need mail command" if session.mail is None else "503 5.5.2 Need rcpt command",
            )
            return
        session.chunks = chunks + octets
        if not fits:
            session.mail, session.chunks = None, None
            await self._say(session, "too-big", "552 5.3.4 Message size exceeds fixed maximum message size")
        elif asked[2]:
            session.chunks = None
            await self._end_of_data(session, bytes(chunks + octets))
        elif (await self._say(session, "bdat", f"250 2.6.0 CHUNK received OK, {size} octets"))[0] != "2":
            session.mail, session.chunks = None, None

    async def _end_of_data(self, session: Session, octets: bytes | None) -> None:
        """Keep the message, then answer; or answer and keep nothing when a test planned another answer than 2yz."""
        mail, session.mail = session.mail, None
        assert mail is not None
        planned = self.answers.get("end-of-data")
        if isinstance(planned, list):
            planned = planned[0] if planned else None
        if octets is None:
            await self._say(session, "too-big", "552 5.3.4 Message size exceeds fixed maximum message size")
            return
        usual = (
            self.front_end.end_of_data([recipient for recipient, _ in session.recipients]) if planned is None else ""
        )
        if not usual and (planned is None or planned.startswith("2")):
            if "end-of-data" in self.hold:  # a hand-over that hangs has not been kept yet
                await self.hold["end-of-data"].wait()
            octets = self.front_end.kept(octets)
            path = await asyncio.to_thread(deliver, self.maildir, octets)
            self._received.append(Received(*mail, tuple(session.recipients), path, session.number))
            found = re.search(rb"(?im)^Message-ID:\s*(<[\x21-\x7e]{1,900}>)", octets.partition(b"\r\n\r\n")[0])
            message_id = found[1].decode() if found else f"<{path.name}@{self.hostname}>"
            internal = secrets.randbelow(10**14)
            usual = f"250 2.6.0 {message_id} [InternalId={internal}, Hostname={self.hostname}] Queued mail for delivery"
            await self._say(session, "end-of-data", usual)
            self._courier.tell(self.hostname, self.front_end.receipt, self.front_end.way_out, *mail, session.recipients)
            return
        await self._say(session, "end-of-data", usual)


async def _serve(maildir: Path, host: str, port: int) -> None:
    async with StandInExchange(maildir, host, port) as exchange:
        print(f"listening on {exchange.host}:{exchange.port}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """`python -m sandbox.exchange`: the stand-in as a process of its own; prints its address when it listens."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.exchange", description="Stand-in for Exchange.")
    parser.add_argument("--maildir", type=Path, required=True, help="folder to keep mail in")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.maildir, arguments.host, arguments.port))


if __name__ == "__main__":
    main()
