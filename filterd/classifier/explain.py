"""Owns the reading of a score: which readable tokens made it, and how much each section of the stream added.

Exact by construction: the weight of each feature goes in equal fifths to the octets its 5-gram covers; octets between tokens
go with the token before them; so token figures add up to the section sums, and these to the score.
Must not know how weights were learned.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filterd.classifier.features import GRAM
from filterd.classifier.stream import Stream
from filterd.mail.evidence import Clue

MAX_CLUES = 12
_MAX_TEXT = 60
_LISTS = (b"html ", b"shape ")  # lines of the structure whose words are facts of their own
# What the stream's words mean (classifier/stream.py writes them).
_NAMES = {
    b"ip": "client address",
    b"rdns": "client name",
    b"helo": "HELO",
    b"helo-of-author": "HELO is of the author's domain",
    b"helo-is-rdns": "HELO is the client's name",
    b"mail-from": "reverse-path",
    b"mail-from-of-author": "reverse-path is of the author's domain",
    b"marker": "unusual MIME",
    b"parts": "number of parts, size",
    b"file": "attachment",
    b"tags": "amount of HTML, links, text, hidden text",
    b"html": "HTML element",
    b"shape": "shape",
    b"hops": "Received fields",
}

Floats = npt.NDArray[np.float64]


def per_octet(length: int, positions: npt.NDArray[np.intp], parts: Floats) -> Floats:
    """Log-odds per octet of a stream: each part in equal shares over the GRAM octets from its position on."""
    change = np.zeros(length + 1)
    change[positions] = parts / GRAM
    change[positions + GRAM] -= parts / GRAM
    return np.cumsum(change)[:length]


def section_sums(stream: Stream, octets: Floats) -> tuple[Clue, ...]:
    """What each section of the stream adds."""
    return tuple(Clue(name, float(octets[begin:end].sum())) for name, begin, end in stream.sections)


def token_clues(stream: Stream, octets: Floats) -> tuple[Clue, ...]:
    """The MAX_CLUES tokens that add or take away most, strongest first, in words of people."""
    units = _units(stream)
    data = np.frombuffer(units, np.uint8)
    if not len(data):
        return ()
    solid = data > 32
    starts = np.flatnonzero(solid & ~np.concatenate([[False], solid[:-1]]))
    if not len(starts):
        return ()
    starts[0] = 0
    sums = np.add.reduceat(octets, starts)
    strongest = np.argsort(-np.abs(sums), kind="stable")[:MAX_CLUES]
    return tuple(
        Clue(_readable(stream, units, int(starts[number])), float(sums[number])) for number in strongest if sums[number]
    )


def _units(stream: Stream) -> bytes:
    """The stream with what belongs together joined: a line of the connection or of the structure is one fact."""
    data = stream.data
    pieces = []
    for name, begin, end in stream.sections:
        piece = data[begin:end]
        if name in ("connection", "structure"):
            lines = piece.split(b"\n")
            piece = b"\n".join(line if line.startswith(_LISTS) else line.replace(b" ", b"_") for line in lines)
        pieces.append(piece)
    return b"".join(pieces)


def _readable(stream: Stream, units: bytes, start: int) -> str:
    """The token as people call it, with what it is before it."""
    section = next((name for name, begin, end in stream.sections if begin <= start < end), "text")
    words = units[start : start + 400].split(None, 1)
    # The first token begins at 0, also where blanks stand before it.
    begin = start + (len(units[start : start + 400]) - len(units[start : start + 400].lstrip()))
    token = stream.data[begin : begin + len(words[0]) if words else begin]
    line = stream.data.rfind(b"\n", 0, begin) + 1
    head = stream.data[line : line + 40].partition(b" ")[0]
    if section == "header":
        field = _printable(stream.data[line : line + 40].partition(b":")[0])
        return f"{field}: {_printable(token)}" if line != begin else f"field {_printable(token.rstrip(b':'))}"
    if section == "url":
        return f"link: {_printable(token)}"
    if section == "text":
        return f"text: {_printable(token)}"
    if head + b" " in _LISTS and line != begin:
        return f"{_NAMES[head]}: {_printable(token)}"
    return _fact(token, head)


def _fact(line: bytes, head: bytes) -> str:
    """A line of the connection or the structure in words."""
    if b">" in head:
        first, _, second = line.partition(b">")
        return f"order of fields: {_printable(first)}, {_printable(second)}"
    value = line[len(head) + 1 :]
    if head.startswith(b"type"):
        return f"part of type {_printable(value)}"
    return f"{_NAMES.get(head, _printable(head))}: {_printable(value)}" if value else _NAMES.get(head, _printable(head))


def _printable(raw: bytes) -> str:
    text = raw[: 4 * _MAX_TEXT].decode("utf-8", "replace")[:_MAX_TEXT]
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
