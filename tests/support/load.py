"""Owns a sending side for functional tests and benchmarks: many clients at once, one answer per message, retries like an MTA.

Speaks SMTP by itself (RFC 5321), so that every octet sent is known.  Not part of the product.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_STUFF = re.compile(rb"(?m)^\.")


@dataclass
class Mail:
    """One message to send and what became of it.

    Attributes:
        answer: the last reply: to end-of-data, or the refusal before it; empty when the connection broke.
        answers: all replies of all tries.
        accepted: how often a 250 after end-of-data was received.
        seconds: from connecting to the answer, of the last try.
    """

    sender: str
    recipient: str
    octets: bytes
    source: str = "127.0.0.1"
    helo: str = "client.example.com"
    answer: str = ""
    answers: list[str] = field(default_factory=list)
    accepted: int = 0
    seconds: float = 0.0

    @property
    def code(self) -> int:
        """Code of the last reply, 0 when there was none."""
        return int(self.answer[:3]) if self.answer[:3].isdigit() else 0


async def _reply(reader: asyncio.StreamReader) -> str:
    while True:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the server closed")
        if line[3:4] != b"-":
            return line.decode("utf-8", "replace").strip()


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mail: Mail) -> str:
    async def say(line: str) -> str:
        writer.write(line.encode() + b"\r\n")
        return await _reply(reader)

    for command in (f"MAIL FROM:<{mail.sender}>", f"RCPT TO:<{mail.recipient}>"):
        answer = await say(command)
        if not answer.startswith("2"):
            return answer
    answer = await say("DATA")
    if not answer.startswith("354"):
        return answer
    writer.write(_STUFF.sub(b"..", mail.octets) + b".\r\n")
    await writer.drain()
    return await _reply(reader)


async def send_one(port: int, mail: Mail, seconds: float = 60.0) -> None:
    """One connection, one message, one answer; a broken connection leaves an empty answer."""
    started = time.perf_counter()
    mail.answer = ""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(mail.source, 0), limit=2**20)
            await _reply(reader)
            writer.write(f"EHLO {mail.helo}\r\n".encode())
            await _reply(reader)
            mail.answer = await _talk(reader, writer, mail)
            mail.seconds = time.perf_counter() - started
            writer.write(b"QUIT\r\n")
    except (OSError, TimeoutError, ConnectionError):
        pass
    finally:
        if writer is not None:
            writer.close()
    mail.answers.append(mail.answer)
    if mail.code == 250:
        mail.accepted += 1


async def send_all(port: int, mails: Sequence[Mail], clients: int, tries: int = 1, pause: float = 0.05) -> None:
    """Send every message over `clients` connections at once; retry 4yz and broken connections like an MTA, `tries` times."""
    waiting = list(reversed(mails))

    async def client() -> None:
        while waiting:
            mail = waiting.pop()
            for _ in range(tries):
                await send_one(port, mail)
                if mail.code == 250 or mail.code >= 500:
                    break
                await asyncio.sleep(pause)

    await asyncio.gather(*(client() for _ in range(clients)))
