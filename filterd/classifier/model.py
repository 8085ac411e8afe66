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
from filterd.classifier.features import BUCKETS, FEATURE_VERSION, Indices, distinct, grams
from filterd.classifier.manifest import INFORMATION, WEIGHTS, Manifest, open_verified, read_manifest
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.errors import ModelError
from filterd.mail.evidence import Clue
from filterd.mail.message import Message


@dataclass(frozen=True, slots=True)
class Classification:
    """What the model says about one message.

    Attributes:
        log_odds: calibrated natural log-odds of spam; positive means spam.
        raw: what the weights alone say.
        probability: logistic function of `log_odds`.
        clues: the strongest readable tokens, in calibrated log-odds; the remainder is not shown.
        sections: sum of each section of the message, and "calibration"; they add up to `log_odds`.
        features: distinct bucket indices, for the evidence record and later training.
        seen: share of the features that the model has ever learned anything about, 0..1.
        markers: what was abnormal in the message's structure.
    """

    log_odds: float
    raw: float
    probability: float
    clues: tuple[Clue, ...]
    sections: tuple[Clue, ...]
    features: Indices
    seen: float
    markers: tuple[str, ...] = ()


class Model:
    """A loaded model; immutable, weights are memory-mapped and shared between processes."""

    def __init__(self, manifest: Manifest, weights: npt.NDArray[np.float32]) -> None:
        self.manifest = manifest
        self._weights = weights

    @classmethod
    def load(cls, path: Path) -> Model:
        """The model in a folder, after its manifest and the SHA-256 of its files were verified.  Raises ModelError."""
        manifest = read_manifest(path)
        if manifest.feature_version != FEATURE_VERSION:
            raise ModelError(
                f"{path}: made for feature version {manifest.feature_version}, this program has {FEATURE_VERSION}; retrain it"
            )
        if manifest.buckets != BUCKETS:
            raise ModelError(f"{path}: has {manifest.buckets} buckets, this program needs {BUCKETS}")
        open_verified(path, INFORMATION, manifest).close()
        weights: npt.NDArray[np.float32] = np.frombuffer(open_verified(path, WEIGHTS, manifest), "<f4")
        if not np.isfinite(weights).all():
            raise ModelError(f"{path / WEIGHTS}: holds values that are not finite")
        return cls(manifest, weights)

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
        stream = content_stream(message, facts)
        indices, positions = distinct(grams(stream.data))
        weights = self._weights[indices].astype(np.float64)
        root = math.sqrt(max(len(indices), 1))
        raw = float(weights.sum()) / root + self.manifest.intercept
        log_odds = self.calibrated(raw)
        octets = per_octet(len(stream.data), positions, weights * (self.manifest.slope / root))
        fixed = Clue("calibration", self.manifest.slope * self.manifest.intercept + self.manifest.offset)
        return Classification(
            log_odds=log_odds,
            raw=raw,
            probability=probability(log_odds),
            clues=token_clues(stream, octets),
            sections=(*section_sums(stream, octets), fixed),
            features=indices,
            seen=float(np.count_nonzero(weights)) / max(len(indices), 1),
            markers=stream.markers,
        )


def probability(log_odds: float) -> float:
    """The logistic function, without overflow."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-min(log_odds, 700.0)))
    tail = math.exp(max(log_odds, -700.0))
    return tail / (1.0 + tail)
