"""Owns the measurement of the SMTP path without checks: CPU and rate of receive, and of receive plus hand-over.

One worker process with a null session; smtp-source and smtp-sink (Debian: postfix) on the other core.
Run: python -m benchmarks.smtp [--messages 4000] [--size 10240] [--sessions 20] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import uvloop

from filterd.adapters.tallies import SharedTallies
from filterd.adapters.upstream import SmtpUpstream
from filterd.config import ClientsConfig, LimitsConfig, ListenerConfig, UpstreamConfig
from filterd.deadline import Deadline
from filterd.frontends.smtp.admission import Admission
from filterd.frontends.smtp.server import serve_endpoint
from filterd.frontends.smtp.shared import FrontEnd
from filterd.frontends.smtp.spool import SpoolRoom
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.message import Message
from filterd.mail.reply import Reply

RECEIVED = (
    b"Received: from client.example.org by filter.example.org with ESMTP id 0; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
)


class NullSession:
    """Says 250 to everything; hands over when it has an upstream."""

    greeting: Reply | None = None
    greet_seconds = 0.0
    reference = ""

    def __init__(self, upstream: SmtpUpstream | None) -> None:
        self._upstream = upstream
        self._envelope = Envelope("0", None)
        self._recipients: list[Recipient] = []

    def spoke_early(self, before_greeting: bool) -> None:
        """Nothing."""

    async def authenticated(self, user: str) -> None:
        """Nothing."""

    async def secured(self, tls: str) -> None:
        """Nothing."""

    async def helo(self, name: str, esmtp: bool) -> Reply:
        """250."""
        return Reply(250, "", "hello")

    async def mail(self, reverse_path: Mailbox | None, parameters: tuple[str, ...]) -> Reply:
        """250."""
        self._envelope, self._recipients = Envelope("0", reverse_path, parameters), []
        return Reply(250, "2.1.0", "OK")

    async def rcpt(self, recipient: Recipient) -> Reply:
        """250."""
        self._recipients.append(recipient)
        return Reply(250, "2.1.5", "OK")

    async def data_allowed(self) -> Reply | None:
        """Always."""
        return None

    async def data(self, message: Message, refusal: Reply | None) -> Reply:
        """Upstream's answer, or 250."""
        if refusal is not None or self._upstream is None:
            return refusal or Reply(250, "2.0.0", "discarded")
        chunks = [RECEIVED, message.octets]
        return (await self._upstream.deliver(self._envelope, self._recipients, chunks, Deadline.after(60))).replies[0]

    async def reset(self) -> None:
        """Nothing."""

    async def close(self, reason: str) -> None:
        """Nothing."""


async def serve(pipe: Pipe, sink_port: int) -> None:
    """Serve until told to stop; answers `cpu` with the CPU seconds of this process."""
    loop = asyncio.get_running_loop()
    upstream = None
    if sink_port:
        upstream = SmtpUpstream(UpstreamConfig(port=sink_port, tls="off", connections=20), "filter.example.org")

    async def sessions(connection: Connection) -> NullSession:
        return NullSession(upstream)

    stop = asyncio.Event()

    def told() -> None:
        if pipe.recv() == "cpu":
            pipe.send(time.process_time())
        else:
            stop.set()

    with socket.create_server(("127.0.0.1", 0)) as sock, tempfile.TemporaryDirectory() as folder:
        limits, clients = LimitsConfig(connections_per_client=1000), ClientsConfig(connections_per_minute=0)
        room = SpoolRoom(Path(folder), limits.spool_bytes, limits.spool_memory_bytes, limits.spool_disk_bytes)
        admission = Admission(limits, clients, SharedTallies.alone())
        front = FrontEnd("filter.example.org", clients, sessions, room, admission)
        handle = await serve_endpoint(sock, [(ListenerConfig(), limits)], front)
        pipe.send(sock.getsockname()[1])
        loop.add_reader(pipe.fileno(), told)
        await stop.wait()
        await handle.drain(5)


def child(pipe: Pipe, sink_port: int, with_uvloop: bool) -> None:
    """The worker process, on the last core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    story: Coroutine[None, None, None] = serve(pipe, sink_port)
    if with_uvloop:
        uvloop.run(story)
    else:
        asyncio.run(story)


def measure(options: argparse.Namespace, sink_port: int, with_uvloop: bool, many: bool) -> tuple[float, float]:
    """(CPU microseconds per message, messages per second) of one round."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=child, args=(theirs, sink_port, with_uvloop), daemon=True
    )
    process.start()
    port = ours.recv()
    command = ["smtp-source", "-s", str(options.sessions), "-m", str(options.messages), "-l", str(options.size)]
    command += ["-f", "a@example.org", "-t", "b@example.com", *(["-d"] if many else []), f"127.0.0.1:{port}"]

    def cpu() -> float:
        ours.send("cpu")
        return float(ours.recv())

    before, start = cpu(), time.perf_counter()
    subprocess.run(["taskset", "-c", "0", *command], check=True)
    elapsed = time.perf_counter() - start
    used = cpu() - before
    ours.send("stop")
    process.join()
    return used / options.messages * 1e6, options.messages / elapsed


def main() -> int:
    """Print one row per way of running."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--size", type=int, default=10_240)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    if not (shutil.which("smtp-source") and shutil.which("smtp-sink")):
        print("smtp-source and smtp-sink are needed (Debian: apt-get install postfix)", file=sys.stderr)
        return 1
    with socket.create_server(("127.0.0.1", 0)) as probe:
        sink_port = probe.getsockname()[1]
    sink = subprocess.Popen(["taskset", "-c", "0", "smtp-sink", "-u", "nobody", f"127.0.0.1:{sink_port}", "256"])
    try:
        print(
            f"{options.messages} messages of {options.size} octets, {options.sessions} sessions, {options.rounds} rounds"
        )
        for relay, with_uvloop, many in itertools.product((False, True), repeat=3):
            rounds = [measure(options, sink_port if relay else 0, with_uvloop, many) for _ in range(options.rounds)]
            print(
                f"{'receive + hand-over' if relay else 'receive':20} {'uvloop' if with_uvloop else 'asyncio':8}"
                f"{'many per connection' if many else 'one per connection':20}"
                f"CPU {statistics.median(r[0] for r in rounds):6.0f} us  {statistics.median(r[1] for r in rounds):6.0f} msg/s"
            )
    finally:
        sink.terminate()
        sink.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
