"""Owns where the public test material lies: corpus and conformance suites beside the checkout.  Not part of the product."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def shared_dir() -> Path | None:
    """The folder with corpus/ and conformance/, or None."""
    for candidate in (os.environ.get("FILTERD_SHARED"), CHECKOUT.parent / "shared"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    return None


def conformance_dir() -> Path:
    """The folder of the public suites; skips the calling test, by name, when it is not there."""
    shared = shared_dir()
    if shared is None or not (shared / "conformance").is_dir():
        pytest.skip("public conformance suites are not here (FILTERD_SHARED)")
    return shared / "conformance"


def corpus_archive() -> Path:
    """The archive of real mail; skips the calling test, by name, when it is not there."""
    shared = shared_dir()
    archive = shared / "corpus" / "dev-corpus.tar.xz" if shared else None
    if archive is None or not archive.is_file():
        pytest.skip("the corpus of real mail is not here (FILTERD_SHARED)")
    return archive
