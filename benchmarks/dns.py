"""Owns the measurement of a question to DNS that the cache cannot answer: our resolver beside dnspython's, same run, same server.

Run: python -m benchmarks.dns
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median

# As in a worker: counters live in mapped files, which costs more than in memory.  The variables must stand before the import.
_FOLDER = tempfile.TemporaryDirectory()
os.environ.setdefault("FILTERD_METRICS_DIR", _FOLDER.name)

import dns.asyncresolver  # noqa: E402 (behind the variables, as all that follow)
import uvloop  # noqa: E402 (the same)

from filterd.adapters.resolver import DnsResolver  # noqa: E402 (its counters are made when it is imported)
from filterd.deadline import Deadline  # noqa: E402 (the same)

# Behind the question: one record of each type for the name at octet 12, TTL 300, and an empty OPT.
_OPT = bytes.fromhex("0000290200000000000000")
_RDATA = {
    1: bytes((127, 0, 0, 2)),
    16: bytes((60,)) + b"v=spf1 ip4:192.0.2.0/24 include:_spf.example.net ~all".ljust(60),
    15: b"\0\x0a\3mx1\xc0\x0c",
}
_NAMES = {1: "A", 16: "TXT", 15: "MX"}
_TAILS = {
    rdtype: b"\xc0\x0c" + rdtype.to_bytes(2) + b"\0\1\0\0\1\x2c" + len(rdata).to_bytes(2) + rdata + _OPT
    for rdtype, rdata in _RDATA.items()
}
Ask = Callable[[str, str], Awaitable[object]]


def respond(sock: socket.socket) -> None:
    """Answer for ever: header and question as they came, then octets made before."""
    while True:
        data, client = sock.recvfrom(1232)
        end = data.index(0, 12) + 5
        rdtype = int.from_bytes(data[end - 4 : end - 2])
        sock.sendto(data[:2] + b"\x81\x80\0\1\0\1\0\0\0\1" + data[12:end] + _TAILS[rdtype], client)


async def _measure(ask: Ask, names: Iterator[str], rdtype: str, questions: int, in_flight: int) -> float:
    """Microseconds of this process's CPU for each question."""
    todo = iter([next(names) for _ in range(questions)])

    async def worker() -> None:
        for name in todo:
            await ask(name, rdtype)

    started = time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return (time.process_time() - started) / questions * 1e6


async def _round(port: int, names: Iterator[str], rdtype: str, questions: int, in_flight: int) -> tuple[float, float]:
    """(ours, dnspython's)"""
    resolver = DnsResolver((f"127.0.0.1:{port}",), 3.0, 20_000, zones=("zen.example.org", "bl.example.org"))
    peer = dns.asyncresolver.Resolver(configure=False)
    peer.nameservers, peer.port = ["127.0.0.1"], port
    peer.use_edns(0, 0, 1232)

    async def ours(name: str, rdtype: str) -> object:
        return await resolver.query(name, rdtype, Deadline.after(5))

    async def theirs(name: str, rdtype: str) -> object:
        return await peer.resolve(name, rdtype)

    own = await _measure(ours, names, rdtype, questions, in_flight)
    return own, await _measure(theirs, names, rdtype, questions // 4, in_flight)


def main() -> int:
    """Print the table of benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=4000, help="in each round, of ours; a quarter of dnspython's")
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        respond(sock)
    names = (f"host-{number}.mail.example.com" for number in range(sys.maxsize))
    print(f"{options.in_flight} in flight, median of {options.rounds} rounds; CPU of the asking process alone")
    print("| loop | type | dnspython ÷ ours | ours | lowest … highest | dnspython |")
    print("|---|---|---|---|---|---|")
    try:
        for loop, run in (("uvloop", uvloop.run), ("asyncio", asyncio.run)):
            for rdtype in _NAMES.values():
                rounds = [
                    run(_round(sock.getsockname()[1], names, rdtype, options.questions, options.in_flight))
                    for _ in range(options.rounds)
                ]
                own, peer = (median(column) for column in zip(*rounds, strict=True))
                spread = f"{min(r[0] for r in rounds):.0f} … {max(r[0] for r in rounds):.0f} µs"
                print(f"| {loop} | {rdtype} | {peer / own:.1f} | {own:.0f} µs | {spread} | {peer:.0f} µs |")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
