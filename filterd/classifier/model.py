"""Owns scoring: verified weights, an array look-up, calibrated log-odds, and the clues that made them.

The answer equals scikit-learn's for the same weights to 1e-6.  Prior odds are the policy's: the seed's calibration goes
through the origin, mail about which it knows nothing stays at even odds.  Must not know training or policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filterd.classifier.explain import per_octet, section_sums, token_clues
from filterd.classifier.familiarity import MIN_SHARE, Familiarity
from filterd.classifier.features import BUCKETS, FEATURE_VERSION, Indices, distinct, features, grams
from filterd.classifier.manifest import INFORMATION, LOCAL, WEIGHTS, Manifest, open_verified, read_manifest
from filterd.classifier.passages import judged
from filterd.classifier.stream import ConnectionFacts, Stream, content_stream
from filterd.errors import ModelError
from filterd.mail.evidence import Clue
from filterd.mail.message import Message

PASSAGE = "judged by its most suspicious passage"  # the clue that tells what this takes off (passages.py)


@dataclass(frozen=True, slots=True)
class Classification:
    """What the model says about one message.

    Attributes:
        log_odds: calibrated natural log-odds of spam; positive means spam.
        raw: what the weights alone say.
        probability: logistic function of `log_odds`.
        clues: the strongest readable tokens, in calibrated log-odds; the remainder is not shown.
        sections: sum of each section of what was judged, "calibration" and PASSAGE; they add up to `log_odds`.
        features: distinct bucket indices of the whole stream, for the evidence record and later training.
        seen: share of the features that the model has ever learned anything about, 0..1.
        seen_here: share of the features that stood in labelled mail of this site before, 0..1 (familiarity.py).
        familiar: whether that is enough for the content to weigh in full.
        markers: what was abnormal in the message's structure.
    """

    log_odds: float
    raw: float
    probability: float
    clues: tuple[Clue, ...]
    sections: tuple[Clue, ...]
    features: Indices
    seen: float
    seen_here: float = 0.0
    familiar: bool = False
    markers: tuple[str, ...] = ()


class Model:
    """A loaded model; immutable, its 5 MB of weights and counts are this process's own."""

    def __init__(
        self, manifest: Manifest, weights: npt.NDArray[np.float32], local: npt.NDArray[np.uint8] | None = None
    ) -> None:
        self.manifest = manifest
        self._weights = weights
        self._familiarity = Familiarity(local, manifest.local_ham, manifest.local_spam)

    @classmethod
    def load(cls, path: Path, manifest: Manifest | None = None) -> Model:
        """The model in a folder, after its manifest and the SHA-256 of its files were verified.  Raises ModelError.

        `manifest`: the one whose signature was verified, so that no other one is read a moment later; without it nobody looks
        at a signature, as for a model that was made just now.
        """
        manifest = manifest or read_manifest(path)
        if manifest.feature_version != FEATURE_VERSION:
            raise ModelError(
                f"{path}: made for feature version {manifest.feature_version}, this program has {FEATURE_VERSION}; train it again from mail"
            )
        if manifest.buckets != BUCKETS:
            raise ModelError(f"{path}: has {manifest.buckets} buckets, this program needs {BUCKETS}")
        open_verified(path, INFORMATION, manifest)
        weights: npt.NDArray[np.float32] = np.frombuffer(open_verified(path, WEIGHTS, manifest), "<f4")
        if not np.isfinite(weights).all():
            raise ModelError(f"{path / WEIGHTS}: holds values that are not finite")
        local = np.frombuffer(open_verified(path, LOCAL, manifest), np.uint8) if LOCAL in manifest.files else None
        return cls(manifest, weights, local)

    @property
    def name(self) -> str:
        """Id of the model for records."""
        return self.manifest.name

    def score(self, indices: Indices) -> float:
        """Raw log-odds of distinct bucket indices; only the intercept when there are none."""
        if not len(indices):
            return self.manifest.intercept
        total = float(self._weights[indices].sum(dtype=np.float64))
        return total / math.sqrt(len(indices)) + self.manifest.intercept

    def calibrated(self, raw: float) -> float:
        """Calibrated log-odds of raw ones."""
        return self.manifest.slope * raw + self.manifest.offset

    def classify(self, message: Message, facts: ConnectionFacts) -> Classification:
        """The whole answer for a message.  Never raises on any octets."""
        return self.judge(content_stream(message, facts))

    def judge(self, whole: Stream) -> Classification:
        """The whole answer for the stream of a message, which several models can read."""
        stream, allowance = judged(whole, self._weights, lambda indices: self.calibrated(self.score(indices)))
        indices, positions = distinct(grams(stream.data))
        weights = self._weights[indices].astype(np.float64)
        root = math.sqrt(max(len(indices), 1))
        raw = float(weights.sum()) / root + self.manifest.intercept
        log_odds = self.calibrated(raw) - allowance
        seen_here = self._familiarity.share(indices)
        octets = per_octet(len(stream.data), positions, weights * (self.manifest.slope / root))
        fixed = [Clue("calibration", self.manifest.slope * self.manifest.intercept + self.manifest.offset)]
        if allowance:
            fixed.append(Clue(PASSAGE, -allowance))
        return Classification(
            log_odds=log_odds,
            raw=raw,
            probability=probability(log_odds),
            clues=(*token_clues(stream, octets), *fixed[1:]),
            sections=(*section_sums(stream, octets), *fixed),
            features=features(whole) if allowance else indices,
            seen=float(np.count_nonzero(weights)) / max(len(indices), 1),
            seen_here=seen_here,
            familiar=seen_here >= MIN_SHARE,
            markers=stream.markers,
        )

    def weigh(self, whole: Stream) -> tuple[float, bool]:
        """(log-odds, whether it is familiar) as `judge` gives them, without what people read: for a model beside the one in use."""
        stream, allowance = judged(whole, self._weights, lambda indices: self.calibrated(self.score(indices)))
        indices = features(stream)
        log_odds = self.calibrated(self.score(indices)) - allowance
        return log_odds, self._familiarity.share(indices) >= MIN_SHARE

    def unknown(self, indices: Indices) -> float:
        """Share of distinct bucket indices that the model has never learned anything about, 0..1."""
        return 1.0 - float(np.count_nonzero(self._weights[indices])) / max(len(indices), 1)


def probability(log_odds: float) -> float:
    """The logistic function, without overflow."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-min(log_odds, 700.0)))
    tail = math.exp(max(log_odds, -700.0))
    return tail / (1.0 + tail)
