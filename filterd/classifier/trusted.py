"""Owns which manifest the shipped seed model has.  Must not know keys: the seed comes with the program and is signed by nobody.

Whoever makes a new seed puts the digest here that `python -m training seed` prints; a test compares.
"""

from __future__ import annotations

import hashlib

SEED_MANIFEST_SHA256 = "f890237c0b2f4fb8aff32ee10e48ed35cc85a1105ddfb65a9c0ca2185199f8a4"


def is_seed(manifest: bytes) -> bool:
    """Whether these are the octets of the seed's manifest, which names the digests of all its files."""
    return hashlib.sha256(manifest).hexdigest() == SEED_MANIFEST_SHA256
