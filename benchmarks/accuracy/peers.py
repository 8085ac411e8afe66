"""Owns the run of a peer over a set of messages by one protocol.  Must not know the figures, nor any one peer beyond its name.

online: score, then train on the true label at once, on every message.  batch: train on the first half by date, score the second.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.accuracy import bogofilter, rspamd, spamassassin
from benchmarks.accuracy.peer import Peer, PeerError, given_to_peers
from benchmarks.accuracy.scores import Run, Scores
from training.readers import Item, by_date

KINDS: dict[str, tuple[Callable[[str], Peer], Sequence[str], Callable[[], str], str]] = {
    "bogofilter": (bogofilter.Bogofilter, tuple(bogofilter.VARIANTS), bogofilter.Bogofilter.missing, "bogofilter"),
    "rspamd": (rspamd.Rspamd, tuple(rspamd.VARIANTS), rspamd.Rspamd.missing, "rspamd redis-server"),
    "spamassassin": (
        spamassassin.SpamAssassin,
        tuple(spamassassin.VARIANTS),
        spamassassin.SpamAssassin.missing,
        "spamassassin",
    ),
}
_RAM = Path("/dev/shm")


def make(name: str) -> Peer:
    """The peer of "kind" or "kind:variant".  Raises PeerError naming what there is, or what is missing."""
    kind, _, variant = name.partition(":")
    if kind not in KINDS or variant not in KINDS[kind][1]:
        known = [f"{peer}:{one}".rstrip(":") for peer, (_, variants, _, _) in KINDS.items() for one in variants]
        raise PeerError(f"no peer {name}; there are {', '.join(known)}")
    build, _, missing, packages = KINDS[kind]
    if absent := missing():
        raise PeerError(
            f"{name} is left out: {absent} is not installed (sudo apt-get install --no-install-recommends {packages})"
        )
    return build(variant)


def halves(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """First and second half by date, as `training.evaluate.batch` cuts them."""
    ordered = by_date(list(items))
    half = len(ordered) // 2
    return ordered[:half], ordered[half:]


def run(peer: Peer, items: Sequence[Item], protocol: str, note: str) -> Scores:
    """Score and train from nothing.  Raises PeerError, OSError."""
    trained, scored = ([], list(items)) if protocol == "online" else halves(items)
    folder = Path(tempfile.mkdtemp(prefix="accuracy-", dir=_RAM if _RAM.is_dir() else None))
    digest = hashlib.sha256()
    labels: list[bool] = []
    scores: list[float] = []
    begun = time.monotonic()
    remark = ""
    try:
        peer.start(folder)
        for number, item in enumerate([*trained, *scored], 1):
            octets = given_to_peers(item)
            digest.update(len(octets).to_bytes(4, "big") + octets)
            if number > len(trained):
                labels.append(item.spam)
                scores.append(peer.score(octets))
            if protocol == "online" or number <= len(trained):
                peer.learn(octets, item.spam)
            if number % 500 == 0:
                rate = number / (time.monotonic() - begun)
                print(f"{note}: {number}/{len(trained) + len(scored)} messages, {rate:.0f}/s", file=sys.stderr)
    finally:
        remark = peer.stop()
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.monotonic() - begun, 1)
    return Scores(Run(peer.settings, remark, digest.hexdigest(), seconds, _version(peer.packages)), labels, scores)


def digest_of(items: Sequence[Item], protocol: str) -> str:
    """What `run` would note as digest: tells whether kept scores are about the octets of today."""
    digest = hashlib.sha256()
    ordered = list(items) if protocol == "online" else [item for half in halves(items) for item in half]
    for item in ordered:
        octets = given_to_peers(item)
        digest.update(len(octets).to_bytes(4, "big") + octets)
    return digest.hexdigest()


def _version(packages: str) -> str:
    if not shutil.which("dpkg-query"):
        return ""
    asked = ["dpkg-query", "-W", "-f", "${Package} ${Version} ", *packages.split()]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()
