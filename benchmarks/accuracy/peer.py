"""Owns what a peer is (start, score, learn, stop) and what it is given to read.  Must not know any one peer or the figures.

A peer reads the message that our model reads (`training.edge.at_the_edge`), less the fields that receiving sites and scanners
add, which our model does not see either.  What SMTP told us about the connection, it gets as an MTA would write it: Return-Path
and a topmost Received field in the form of Postfix, which all of the peers parse.
"""

from __future__ import annotations

import math
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol

from filterd.classifier.headers import is_added_on_receipt
from filterd.classifier.stream import ConnectionFacts
from training.edge import at_the_edge
from training.readers import Item

MX = "mx.example.net"  # the host that writes the topmost Received field; peers are told that it is theirs
MX_ADDRESS = "192.0.2.1"  # RFC 5737
CERTAIN = 40.0  # log-odds of a probability of exactly 0 or 1: a double cannot say more than 36.7


class PeerError(Exception):
    """A peer cannot be started, or said something that it should not say."""


class Peer(Protocol):
    """Another filter's Bayes part alone, starting from nothing."""

    packages: str  # Debian packages
    settings: str  # one sentence for the report

    @staticmethod
    def missing() -> str:
        """The programs or libraries that are not there; empty when all are."""

    def start(self, folder: Path) -> None:
        """Begin with an empty memory, everything below `folder` (a RAM disk).  Raises PeerError."""

    def score(self, octets: bytes) -> float:
        """Log-odds of spam; 0 while the peer gives no opinion."""

    def learn(self, octets: bytes, spam: bool) -> None:
        """Train on one message whatever the score was."""

    def stop(self) -> str:
        """End all processes; remarks for the report, such as how many messages were not taken."""


def log_odds(probability: float) -> float:
    """The logit, at most CERTAIN either way.  Order is kept, so ties are the peer's own; the ROC counts a tie as half a pair."""
    if not 0.0 <= probability <= 1.0:
        raise PeerError(f"{probability} is no probability")
    if probability in {0.0, 1.0}:
        return math.copysign(CERTAIN, probability - 0.5)
    return min(max(math.log(probability) - math.log1p(-probability), -CERTAIN), CERTAIN)


def given_to_peers(item: Item) -> bytes:
    """The octets that every peer scores and learns, LF line ends as an MTA hands them to a program.  Raises OSError."""
    message, facts = at_the_edge(item.read(), item.facts)
    octets = bytes(message.octets)
    pieces = [*_trace(facts, item.date)]
    position = 0
    for field in message.fields:
        if is_added_on_receipt(field.key):
            pieces.append(octets[position : field.start])
            position = field.start + len(field.raw)
    pieces.append(octets[position:])
    return b"".join(pieces).replace(b"\r\n", b"\n")


def _trace(facts: ConnectionFacts, date: str) -> list[bytes]:
    lines = []
    if facts.mail_from:
        lines.append(f"Return-Path: <{_plain(facts.mail_from)}>\r\n")
    if facts.client_ip:
        client = (
            f"{_plain(facts.client_name) or 'unknown'} [{'IPv6:' if ':' in facts.client_ip else ''}{facts.client_ip}]"
        )
        lines.append(
            f"Received: from {_plain(facts.helo) or 'unknown'} ({client})\r\n\tby {MX} (Postfix) with ESMTP;\r\n\t{_when(date)}\r\n"
        )
    return [line.encode("latin-1", "replace") for line in lines]


def _plain(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() and letter not in "<>() ")[:255]


def _when(date: str) -> str:
    try:
        return format_datetime(datetime.fromisoformat(date))
    except ValueError:
        return "Thu, 01 Jan 2026 00:00:00 +0000"
