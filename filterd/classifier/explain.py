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
    """The MAX_CLUES tokens that add or take away most, strongest first."""
    data = np.frombuffer(stream.data, np.uint8)
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
        Clue(_readable(stream, int(starts[number])), float(sums[number])) for number in strongest if sums[number]
    )


def _readable(stream: Stream, start: int) -> str:
    """The token as it stands, with its section and, for a header line, the field's name before it."""
    section = next((name for name, begin, end in stream.sections if begin <= start < end), "text")
    words = stream.data[start : start + 400].split(None, 1)
    token = _printable(words[0] if words else b"")
    if section != "header":
        return f"{section}: {token}"
    line = stream.data.rfind(b"\n", 0, start) + 1
    field = _printable(stream.data[line : line + 40].partition(b":")[0])
    return f"{field}: {token}" if line != start else token


def _printable(raw: bytes) -> str:
    text = raw[: 4 * _MAX_TEXT].decode("utf-8", "replace")[:_MAX_TEXT]
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
