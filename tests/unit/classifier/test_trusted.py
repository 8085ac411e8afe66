"""The shipped seed is the one whose digest the program knows, and no other."""

from __future__ import annotations

from filterd.classifier.manifest import MANIFEST
from filterd.classifier.trusted import is_seed
from filterd.config import SEED_MODEL


def test_the_seed_is_the_pinned_one() -> None:
    octets = (SEED_MODEL / MANIFEST).read_bytes()
    assert is_seed(octets), "whoever makes a seed writes its digest into filterd/classifier/trusted.py"
    assert not is_seed(octets + b"\n")
    assert not is_seed(b"")
