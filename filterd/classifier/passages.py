"""Owns the judgement by the passage that is most like spam: what innocent text around it cannot talk away.

A sum over a whole text is what long innocent text was written against: 3 KB of a list's mail before a swindle took 11 log-odds
from it.  So the text is also read in passages, each as if the message said nothing else; the strongest counts when it is
ALLOWANCE above the whole.  Only scoring does this; what is learned is always the whole stream (features.py).
Must not know how weights were learned, nor policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from filterd.classifier.features import GRAM, Indices, features, grams
from filterd.classifier.stream import Stream

# Octets from one passage's beginning to the next, and of a passage: short enough to have little of the innocent text around a short
# message in them.  400 and 800, 600, 800 and 1,000 alone are equal on the developer corpus.
STEP, LENGTHS = 200, (400, 800)
# Log-odds that a passage must be above the whole; they are taken off its score.  Online (1-ROCA)% of the whole developer corpus without
# passages 0.0598, with an allowance of 3: 0.0594, 2.5: 0.0591, 2: 0.0587, 1.5: 0.0584, 1: 0.0595; ham above 0 is 0.57 % with each of
# them (one folder: 0.10, with 2 0.15, with 1.5 0.25).  The seed on folders that it has not seen: misses 20.1 % of the spam without, 16.9 %
# with 2; no ham above 0 with either.
ALLOWANCE = 2.0

Weights = npt.NDArray[np.float32]


def judged(stream: Stream, weights: Weights, log_odds: Callable[[Indices], float]) -> tuple[Stream, float]:
    """(what to judge by: `stream`, or it with one passage for its text; what is taken off its log-odds: 0 or ALLOWANCE)."""
    passage = _strongest(stream, weights) if stream.passages else None
    if passage is None or log_odds(features(passage)) - ALLOWANCE <= log_odds(features(stream)):
        return stream, 0.0
    return passage, ALLOWANCE


def _strongest(stream: Stream, weights: Weights) -> Stream | None:
    """The stream with its strongest passage, with or without the links of the whole text; None when the whole is stronger.

    Sums with repeats choose it, for their cost: 5-grams that occur twice are few.
    """
    whole = _sums(stream.data, weights)
    count = len(whole) - 1
    if count < 1:
        return None
    highest = whole[count] / math.sqrt(count)
    found: tuple[int, bytes] | None = None
    begins = [min(begin, count) for name, begin, _ in stream.sections if name in ("url", "text")]
    for text in stream.passages:
        total = _sums(text, weights)
        size = len(total) - 1
        if size < 1:
            continue
        # The last passages are shorter; with a few words the message is judged by all but its text, which is worth asking too.
        starts = np.arange(0, size, STEP)
        for length in LENGTHS:
            ends = np.minimum(starts + length, size)
            gains, sizes = total[ends] - total[starts], ends - starts
            for begin in begins:
                scores = (whole[begin] + gains) / np.sqrt(begin + sizes)
                best = int(scores.argmax())
                if scores[best] > highest:
                    highest = float(scores[best])
                    found = begin, text[starts[best] : ends[best] + GRAM - 1]
    return None if found is None else _with_text(stream, *found)


def _sums(data: bytes, weights: Weights) -> npt.NDArray[np.float64]:
    """Sum of the weights of the 5-grams before each octet."""
    out = np.zeros(max(len(data) - GRAM + 2, 1))
    np.cumsum(weights[grams(data)], out=out[1:])
    return out


def _with_text(stream: Stream, begin: int, text: bytes) -> Stream:
    """The stream up to that offset, and then that text."""
    sections = [(name, min(start, begin), min(end, begin)) for name, start, end in stream.sections[:-1]]
    data = stream.data[:begin] + text
    return replace(stream, data=data, sections=(*sections, (stream.sections[-1][0], begin, len(data))), passages=())
