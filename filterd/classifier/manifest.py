"""Owns the manifest of a model folder: its schema, and the proof that the files beside it are the ones it names.

Only JSON of bounded size and raw little-endian float32 arrays are ever read; nothing that can execute code (pickle, joblib).
Size and SHA-256 of every file are verified before a single weight is looked at.  Must not know features or scores.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filterd.errors import ModelError

FORMAT = "filterd-linear-1"
MANIFEST = "manifest.json"
WEIGHTS = "weights.f32"
INFORMATION = "information.f32"
LOCAL = "local.u8"
_OCTETS = {WEIGHTS: 4, INFORMATION: 4, LOCAL: 1}  # of one bucket
MAX_MANIFEST = 262_144
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the folder: its size in octets and SHA-256 in hexadecimal."""

    octets: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model says about itself.

    Attributes:
        name: id of the model in records, such as seed-1a2b3c4d5e6f.
        feature_version: of filterd.classifier.features.
        buckets: number of weights.
        intercept: raw log-odds added to every score.
        slope: calibrated log-odds = slope * raw + offset.
        offset: see slope.
        files: the arrays beside the manifest.
        local_ham, local_spam: how many messages of this site it has learned; 0 for a model of other people's mail.
        training: how it was made (corpus digest, settings), for people.
        metrics: figures on held-out mail, for people.
    """

    name: str
    feature_version: int
    buckets: int
    intercept: float
    slope: float
    offset: float
    files: Mapping[str, FileEntry]
    local_ham: int = 0
    local_spam: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of manifest.json; the same manifest gives the same octets."""
        data = {
            "format": FORMAT,
            "name": self.name,
            "feature_version": self.feature_version,
            "buckets": self.buckets,
            "intercept": self.intercept,
            "calibration": {"slope": self.slope, "offset": self.offset},
            **({"local": {"ham": self.local_ham, "spam": self.local_spam}} if LOCAL in self.files else {}),
            "files": {name: {"octets": e.octets, "sha256": e.sha256} for name, e in sorted(self.files.items())},
            "training": dict(self.training),
            "metrics": dict(self.metrics),
        }
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder, its schema checked.  Raises ModelError naming what is wrong."""
    return parse_manifest(manifest_octets(folder), folder / MANIFEST)


def manifest_octets(folder: Path) -> bytes:
    """The octets of manifest.json, which its signature is over.  Raises ModelError."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_MANIFEST + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_MANIFEST:
        raise ModelError(f"{path}: larger than {MAX_MANIFEST} octets")
    return raw


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """The manifest in these octets; `path` is for what is said about it.  Raises ModelError."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON") from error
    return _Reader(path).manifest(data)


def open_verified(folder: Path, name: str, manifest: Manifest) -> bytes:
    """The octets of one file whose size and SHA-256 are those of the manifest.

    They are read, not mapped: a folder that is restored from a backup while workers score would else change their weights
    without a proof, or kill them (SIGBUS) where the file is shorter for a moment.  Raises ModelError.
    """
    path = folder / name
    entry = manifest.files[name]
    try:
        with path.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            octets = handle.read(entry.octets + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(octets) != entry.octets:
        raise ModelError(f"{path}: {max(size, len(octets))} octets, the manifest says {entry.octets}")
    if hashlib.sha256(octets).hexdigest() != entry.sha256:
        raise ModelError(f"{path}: SHA-256 differs from the manifest")
    return octets


class _Reader:
    """Checks types and ranges; every complaint names the file and the key."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def manifest(self, data: object) -> Manifest:
        top = self._table(data, "top level")
        if top.get("format") != FORMAT:
            raise ModelError(f"{self._path}: format is {str(top.get('format'))[:40]!r}, this program reads {FORMAT!r}")
        name = top.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ModelError(f"{self._path}: name is not a short lower-case word")
        buckets = self._integer(top, "buckets", 1, 1 << 28)
        files = {key: self._file(key, value) for key, value in self._table(top.get("files"), "files").items()}
        if set(files) not in ({WEIGHTS, INFORMATION}, {WEIGHTS, INFORMATION, LOCAL}):
            raise ModelError(
                f"{self._path}: files must be {WEIGHTS}, {INFORMATION} and, for a site's own model, {LOCAL}"
            )
        for key, entry in files.items():
            octets = _OCTETS[key] * buckets
            if entry.octets != octets:
                raise ModelError(f"{self._path}: {key} must have {octets} octets for {buckets} buckets")
        local = self._table(top.get("local", {}), "local") if LOCAL in files else {"ham": 0, "spam": 0}
        calibration = self._table(top.get("calibration"), "calibration")
        slope = self._number(calibration, "slope")
        if not 0 < slope <= 100:
            raise ModelError(f"{self._path}: slope is not within 0..100")
        return Manifest(
            name=name,
            feature_version=self._integer(top, "feature_version", 1, 1_000_000),
            buckets=buckets,
            intercept=self._number(top, "intercept"),
            slope=slope,
            offset=self._number(calibration, "offset"),
            files=files,
            local_ham=self._integer(local, "ham", 0, 1 << 40),
            local_spam=self._integer(local, "spam", 0, 1 << 40),
            training=self._table(top.get("training", {}), "training"),
            metrics=self._table(top.get("metrics", {}), "metrics"),
        )

    def _table(self, value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ModelError(f"{self._path}: {key} is not a table")
        return value

    def _integer(self, table: Mapping[str, Any], key: str, low: int, high: int) -> int:
        value = table.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ModelError(f"{self._path}: {key} is not a whole number within {low}..{high}")
        return value

    def _number(self, table: Mapping[str, Any], key: str) -> float:
        value = table.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= 1e6 or math.isnan(value):
            raise ModelError(f"{self._path}: {key} is not a number within -1000000..1000000")
        return float(value)

    def _file(self, key: str, value: object) -> FileEntry:
        entry = self._table(value, f"files.{key[:40]}")
        digest = entry.get("sha256")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ModelError(f"{self._path}: sha256 of {key[:40]} is not 64 hexadecimal digits")
        return FileEntry(self._integer(entry, "octets", 1, 1 << 30), digest)
