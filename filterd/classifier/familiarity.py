"""Owns how much of a message this site's own labelled mail has shown before: whether the model knows what it speaks of.

Every model that was trained on other people's mail takes a third to four fifths of unseen newsletters for spam, and is sure of
it: its probability does not tell.  What tells is how many of a message's features stood in labelled mail of the same site.
Must not know weights, labels or what an unfamiliar message may still lead to (engine/score.py).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filterd.classifier.features import Indices

# Labelled messages of this site below which nothing is familiar, of both classes and of each.
MIN_MESSAGES, MIN_OF_EACH = 200, 30
# A feature is known when two local messages had it, or one in _ONE_IN of many: after 4,000 messages most 5-grams of a language
# stood somewhere.
_MIN_SEEN, _ONE_IN = 2, 800
# Share of the message's features that must be known (benchmarks/familiarity.py).  Of later mail of the same kind 77-97 % has it
# after 1,000 labelled messages, of other kinds 0-13 %; ham of another kind that a site's model would have held by content alone
# is 1.2 % instead of 21-22 %.  0.75 leaves 6-10 %, 0.85 makes a third of the site's own mail unfamiliar.
MIN_SHARE = 0.8

Counts = npt.NDArray[np.uint8]


class Familiarity:
    """In how many local messages each feature stood (saturating at 255), and how many messages there were."""

    def __init__(self, counts: Counts | None, ham: int, spam: int) -> None:
        enough = ham + spam >= MIN_MESSAGES and min(ham, spam) >= MIN_OF_EACH
        self._counts = counts if enough else None
        self._known = min(max(_MIN_SEEN, (ham + spam) // _ONE_IN), 255)

    def share(self, indices: Indices) -> float:
        """Share of the features that local mail has shown, 0..1; 0 without enough local mail."""
        if self._counts is None or not len(indices):
            return 0.0
        return float(np.count_nonzero(self._counts[indices] >= self._known)) / len(indices)


def count_in(counts: Counts, indices: Indices) -> None:
    """One more local message had these features."""
    counts[indices] += counts[indices] < 255
