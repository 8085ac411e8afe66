"""Owns which text both databases can keep.  Must not know tables."""

from __future__ import annotations


def clean(text: str) -> str:
    """Text that both databases can store: no lone surrogates, no NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
