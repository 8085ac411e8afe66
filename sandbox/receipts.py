"""Owns the receipts (delivery status notifications) that the stand-in for Exchange writes, and their way to whoever asked.

RFC 3461 4.1 and 5.2.6, RFC 3464.  Its words are those of Exchange's own.  Must not know filterd.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import Iterable

_SECONDS = 20.0  # for the whole dialog
_MAX_LINE = 4096
_WANTED = {"delivered": "SUCCESS", "relayed": "SUCCESS", "expanded": "SUCCESS", "failed": "FAILURE", "delayed": "DELAY"}
_SUBJECTS = {"failed": "Undeliverable", "delayed": "Delivery delayed", "expanded": "Expanded", "relayed": "Relayed"}
_STATUS = {"failed": "5.2.2", "delayed": "4.4.7"}
_SAID = {
    "failed": "550 5.2.2 STOREDRV.Deliver; mailbox full",
    "delayed": "451 4.4.1 Connection timed out",
}
_NOTIFY = re.compile(r"(?i)(?:^| )NOTIFY=([A-Z,]{1,60})(?: |$)")
_ENVID = re.compile(r"(?i)(?:^| )ENVID=([!-~]{1,100})(?: |$)")


def is_wanted(action: str, reverse_path: str, parameters: str) -> bool:
    """Whether whoever gave these parameters with RCPT wants to know of such an end; failures unless they say otherwise."""
    found = _NOTIFY.search(parameters)
    notify = found[1].upper().split(",") if found else ["FAILURE", "DELAY"]
    return bool(reverse_path) and _WANTED.get(action) in notify


def compose(hostname: str, action: str, reverse_path: str, mail_parameters: str, recipients: Iterable[str]) -> bytes:
    """The receipt for a message that came with `mail_parameters`."""
    boundary = secrets.token_hex(16)
    envelope = _ENVID.search(mail_parameters)
    lines = [
        f"From: <postmaster@{hostname}>",
        f"To: <{reverse_path}>",
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime())}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        "Content-Language: en-US",
        f"Message-ID: <{secrets.token_hex(16)}@{hostname}>",
        f"Subject: {_SUBJECTS.get(action, 'Delivered')}: Probe",
        "Auto-Submitted: auto-replied",
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "Your message has been looked after.",
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status",
        "",
        *([f"Original-Envelope-Id: {envelope[1]}"] if envelope else []),
        f"Reporting-MTA: dns;{hostname}",
        "Received-From-MTA: dns;filter",
    ]
    for recipient in recipients:
        lines += ["", f"Final-Recipient: rfc822;{recipient}", f"Action: {action}"]
        lines += [f"Status: {_STATUS.get(action, '2.0.0')}"]
        lines += [f"Diagnostic-Code: smtp;{_SAID[action]}"] if action in _SAID else []
    lines += ["", f"--{boundary}", "Content-Type: message/rfc822", "", "Subject: Probe", "", "", f"--{boundary}--", ""]
    return "\r\n".join(lines).encode("ascii", "replace")


class Courier:
    """Sends receipts beside the conversations of a server.

    Attributes:
        answered: the last reply to each, or why there is none, oldest first (the last 10,000).
    """

    def __init__(self, tasks: set[asyncio.Task[None]]) -> None:
        """`tasks`: what the server cancels when it stops."""
        self.answered: deque[str] = deque(maxlen=10_000)
        self._tasks = tasks

    def tell(
        self,
        hostname: str,
        action: str,
        way_out: tuple[str, int] | None,
        reverse_path: str,
        parameters: str,
        recipients: Iterable[tuple[str, str]],
    ) -> None:
        """Send the receipt for a message whose end is `action`, if anybody asked for one; the parameters as written."""
        named = [name for name, wishes in recipients if is_wanted(action, reverse_path, wishes)]
        if not named or way_out is None:
            return
        octets = compose(hostname, action, reverse_path, parameters, named)
        task = asyncio.create_task(self._send(way_out, hostname, reverse_path, octets))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, way_out: tuple[str, int], hostname: str, recipient: str, octets: bytes) -> None:
        try:
            replies = await send(way_out, hostname, recipient, octets)
            self.answered.append(replies[-1])
        except (OSError, TimeoutError) as error:
            self.answered.append(f"no reply: {error}")


async def send(way_out: tuple[str, int], hostname: str, recipient: str, octets: bytes) -> list[str]:
    """Hand it over with the null reverse-path; the replies, the last of which may be a refusal.  Raises OSError, TimeoutError."""
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_connection(*way_out, limit=_MAX_LINE)
        try:
            replies = [await _reply(reader)]
            for text in (f"EHLO {hostname}", "MAIL FROM:<>", f"RCPT TO:<{recipient}>", "DATA"):
                writer.write(text.encode() + b"\r\n")
                replies.append(await _reply(reader))
                if replies[-1][:1] not in "23":
                    return replies
            writer.write(octets + b".\r\n")  # no line of it begins with a dot
            replies.append(await _reply(reader))
            writer.write(b"QUIT\r\n")
            await writer.drain()
            return replies
        finally:
            writer.close()


async def _reply(reader: asyncio.StreamReader) -> str:
    while True:
        try:
            line = (await reader.readline()).decode("ascii", "replace").rstrip("\r\n")
        except ValueError:
            raise ConnectionAbortedError("a reply line without an end") from None
        if not line:
            raise ConnectionAbortedError("the connection was lost")
        if line[3:4] != "-":
            return line
