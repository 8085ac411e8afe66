"""Owns a real name server: NLnet Labs' nsd with zones a test gives, on a free port of loopback.  Needs Debian's nsd, not root."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import server_binary
from tests.support.daemon import free_port, wait_until

# The list of zones and the states of transfers would lie below /var; a rate limit (200 a second) would drop our answers.
_CONFIG = """\
server:
    server-count: 1
    ip-address: 127.0.0.1@{port}
    username: ""
    database: ""
    zonesdir: "{folder}"
    pidfile: "{folder}/pid"
    zonelistfile: "{folder}/zone.list"
    xfrdfile: "{folder}/xfrd.state"
    xfrdir: "{folder}"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""
_ZONE = """\
zone:
    name: "{origin}"
    zonefile: "{file}"
"""
# Every zone has these, so that a test writes the records it is about.
_HEAD = """\
$ORIGIN {origin}
$TTL {ttl}
@ IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 {negative_ttl}
@ IN NS ns.invalid.
"""


def owner(name: str) -> str:
    """A name as a zone file writes it, absolute: every octet that could mean something there is escaped."""
    return ".".join(_escaped(label) for label in name.removesuffix(".").split(".")) + "."


def text_rdata(text: str) -> str:
    """TXT rdata, split as it must be; one character is one octet."""
    octets = text.encode("latin-1")
    pieces = [octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""]
    return " ".join('"' + "".join(f"\\{octet:03d}" for octet in piece) + '"' for piece in pieces)


def _escaped(label: str) -> str:
    return "".join(
        c if c.isascii() and (c.isalnum() or c in "-_*") else "".join(f"\\{octet:03d}" for octet in c.encode())
        for c in label
    )


@contextmanager
def nsd(
    folder: Path, zones: Mapping[str, str], failing: Collection[str] = (), ttl: int = 300, negative_ttl: int = 60
) -> Iterator[str]:
    """The address ("127.0.0.1:port") of a running nsd with `zones` (origin -> records, without SOA and NS).

    `failing`: names for which, and below which, every question is SERVFAIL: zones without a file.
    """
    binary = server_binary("nsd")
    assert binary is not None
    config = ""
    for number, (origin, records) in enumerate(zones.items()):
        head = _HEAD.format(origin=owner(origin) if origin != "." else ".", ttl=ttl, negative_ttl=negative_ttl)
        (folder / f"{number}.zone").write_text(head + records + "\n")
        config += _ZONE.format(origin=origin, file=f"{number}.zone")
    for origin in failing:
        config += _ZONE.format(origin=origin, file="missing.zone")
    for _ in range(3):  # another program may take the port meanwhile, then again with another
        port = free_port()
        (folder / "nsd.conf").write_text(_CONFIG.format(port=port, folder=folder) + config)
        process = _start(binary, folder)
        if process is not None:
            break
    else:
        raise AssertionError(f"nsd does not start: {_log(folder)[-2000:]}")
    try:
        bad = [line for line in _log(folder).splitlines() if "error" in line and "missing.zone" not in line]
        assert not bad, f"nsd does not like a zone: {bad}"
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _start(binary: str, folder: Path) -> subprocess.Popen[bytes] | None:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, "-d", "-c", str(folder / "nsd.conf")], stdout=log, stderr=log)
    wait_until(lambda: process.poll() is not None or "nsd started" in _log(folder), 30, "nsd to start")
    return process if process.poll() is None else None


def _log(folder: Path) -> str:
    return (folder / "log").read_text("utf-8", "replace")
