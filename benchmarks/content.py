"""Owns the measurement of the content path: CPU of one message by stage and by size, and over a mix of real mail.

Archives, documents and the malware scan are other processes and not in it; DNS lists are asked of memory.
Run: python -m benchmarks.content [--corpus DIR] [--messages N]; without the corpus only mails made here are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import statistics
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

from filterd.checks.attachments import Attachments
from filterd.checks.base import Check, CheckContext
from filterd.checks.content import Content
from filterd.checks.impersonation import Impersonation
from filterd.checks.links import Links
from filterd.checks.structure import Structure
from filterd.checks.url_lists import UrlLists
from filterd.classifier.features import distinct, grams
from filterd.classifier.model import Model
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.config import SEED_MODEL, AttachmentsConfig, ImpersonationConfig, UrlListsConfig
from filterd.content.fingerprint import fingerprint
from filterd.content.lookalike import Lookalikes
from filterd.content.shape import shape_facts
from filterd.content.view import view_of
from filterd.deadline import Deadline
from filterd.engine.scan import with_crlf
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import Connection, Envelope
from filterd.mail.message import Message
from tests.support.dns import MapResolver

SIZES = (2_000, 10_000, 100_000, 1_000_000, 25_000_000)
_OURS = frozenset({"example.com"})
_FACTS = ConnectionFacts("203.0.113.7", "mail.example.net", "mail.example.net", "news@example.net")
_ROUNDS = 3  # the best of them counts: the machine is shared


def made(size: int) -> list[bytes]:
    """Three mails of about `size` octets: plain text, HTML with links and styles, HTML with a picture attached."""
    head = b"From: News <news@example.net>\r\nTo: anna@example.com\r\nSubject: the new building\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    head += b"Message-ID: <1@example.net>\r\nMIME-Version: 1.0\r\nReceived: from a.example.net by b.example.net; Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    line = b"the meeting about the new building is moved because the architect needs the plans first\r\n"
    row = b'<tr><td style="font-size:14px;color:#333333;background:#fff"><a href="https://www.example.net/news/1?id=2">read more</a> of the plans</td></tr>\r\n'
    plain = head + b"\r\n" + line * max(1, (size - len(head)) // len(line))
    html = (
        head
        + b"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><table>"
        + row * max(1, (size - 600) // len(row))
    )
    part = (
        b'Content-Type: multipart/mixed; boundary="=_0123456789abcdef0123456789"\r\n\r\n--=_0123456789abcdef0123456789\r\nContent-Type: text/html\r\n\r\n<p>'
        + line * 10
        + b"</p>\r\n--=_0123456789abcdef0123456789\r\n"
    )
    part += b'Content-Type: image/png; name="plan.png"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    picture = base64.encodebytes(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(max(100, (size - 1500) * 3 // 4)))
    return [plain, html, head + part + picture.replace(b"\n", b"\r\n") + b"--=_0123456789abcdef0123456789--\r\n"]


def cpu(work: Callable[[Message], object], octets: bytes, before: Callable[[Message], object] = len) -> float:
    """CPU milliseconds of `work` on a fresh message for which `before` was done already."""
    best = 1e9
    for _ in range(_ROUNDS):
        message = Message(octets)
        before(message)
        started = time.process_time()
        work(message)
        best = min(best, time.process_time() - started)
    return best * 1000


class ContentPath:
    """The content path: every check that reads the message's content, one after the other, as a worker runs them."""

    def __init__(self, model: Model) -> None:
        self.loop = asyncio.new_event_loop()
        lookalikes = Lookalikes(tuple(_OURS))
        resolver = MapResolver()
        self.model = model
        self.checks: Sequence[Check] = (
            Structure("mx.example.com", time.time),
            Links(lookalikes),
            UrlLists(UrlListsConfig(), lookalikes, resolver, ours=_OURS),
            Impersonation(ImpersonationConfig(), _OURS, lookalikes, None, time.time),
            Content(model, 1.0),
            Attachments(AttachmentsConfig(), None),
        )

    def run(self, message: Message) -> None:
        """All checks; the message's views are made on the way, the fingerprint at the end."""
        connection = Connection(ip_address("203.0.113.7"), helo="mail.example.net", client_name="mail.example.net")
        envelope = Envelope("x", parse_mailbox("news@example.net"), (), ())
        ctx = CheckContext(connection, Deadline.after(60), envelope=envelope, message=message)

        async def every() -> None:
            for check in self.checks:
                await check(ctx)

        self.loop.run_until_complete(every())
        fingerprint(message)


def stages(path: ContentPath, octets: bytes) -> dict[str, float]:
    """CPU milliseconds by stage."""

    def header(message: Message) -> object:
        return message.fields, message.first("subject")

    def viewed(message: Message) -> None:
        header(message)
        view_of(message)
        shape_facts(message)

    stream = content_stream(Message(octets), _FACTS)
    indices = distinct(grams(stream.data))[0]
    return {
        "header": cpu(header, octets),
        "view": cpu(view_of, octets, header),
        "shape": cpu(shape_facts, octets, header),
        "stream": cpu(lambda message: content_stream(message, _FACTS), octets, viewed),
        "features": cpu(lambda _: distinct(grams(stream.data)), octets),
        "score": cpu(lambda _: path.model.score(indices), octets),
        "classify": cpu(lambda message: path.model.classify(message, _FACTS), octets),
        "shadow": cpu(lambda _: path.model.weigh(stream), octets),
        "fingerprint": cpu(fingerprint, octets, viewed),
        "whole path": cpu(path.run, octets),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="folder with index.tsv")
    parser.add_argument("--messages", type=int, default=1500, help="messages of the corpus mix; default 1500")
    options = parser.parse_args()
    path = ContentPath(Model.load(SEED_MODEL))
    print("| message | " + " | ".join(stages(path, made(2_000)[0])) + " |")
    print("|---" * 11 + "|")
    for size in SIZES:
        for kind, octets in zip(("plain", "HTML", "picture"), made(size), strict=True):
            row = stages(path, octets)
            print(
                f"| {size // 1000} KB {kind} | " + " | ".join(f"{value:.2f}" for value in row.values()) + " |",
                flush=True,
            )
    if options.corpus is None:
        return
    rows = [line.split("\t")[1] for line in (options.corpus / "index.tsv").read_text().splitlines()]
    random.Random(2026).shuffle(rows)
    times = []
    for name in rows[: options.messages]:
        octets = with_crlf((options.corpus / name).read_bytes())
        stream = content_stream(Message(octets), _FACTS)
        times.append(
            (
                cpu(path.run, octets),
                cpu(lambda message: path.model.classify(message, _FACTS), octets),
                cpu(lambda _, stream=stream: path.model.weigh(stream), octets),  # type: ignore[misc]  # bound now
            )
        )
    for number, what in enumerate(("whole path", "decode, features, score and clues", "a model in shadow beside it")):
        found = sorted(each[number] for each in times)
        print(
            f"corpus mix, {len(found)} messages, {what}: mean {statistics.mean(found):.2f} ms, median {statistics.median(found):.2f}, "
            f"p99 {found[int(len(found) * 0.99)]:.2f}, longest {found[-1]:.2f}"
        )


if __name__ == "__main__":
    main()
