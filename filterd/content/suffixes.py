"""Owns what part of a host name belongs to one owner: the organizational domain, by the public suffix list.

The list comes with the package `publicsuffixlist` (no network); DMARC does not use it, RFC 9989 walks the tree instead.
Must not know what a host is.  Names are lower-case A-labels without final dot.
"""

from __future__ import annotations

from functools import cache, lru_cache

from publicsuffixlist import PublicSuffixList

_MAX_KNOWN = 8_192  # hosts remembered in this process; a message has 20 different ones, and mail repeats them


@cache
def _suffixes() -> PublicSuffixList:
    """Read at the first question: 70 ms.  Private suffixes count too, each customer of github.io is its own."""
    return PublicSuffixList(accept_unknown=False)


@lru_cache(_MAX_KNOWN)
def organizational(name: str) -> str:
    """The public suffix of `name` and one label more; two labels where the list does not know the top one.

    What is itself a public suffix is its own: somebody may well have a page there.
    """
    known = _suffixes().privatesuffix(name)
    if known is not None:
        return known
    return name if is_suffix(name) else ".".join(name.split(".")[-2:])


@lru_cache(_MAX_KNOWN)
def is_suffix(name: str) -> bool:
    """Whether names are registered directly below `name`, as the list knows it."""
    return _suffixes().publicsuffix(name) == name


@lru_cache(_MAX_KNOWN)
def is_top_level(label: str) -> bool:
    """Whether it is a top-level domain; `label` as written, U-labels too."""
    return "." not in label and _suffixes().publicsuffix(label) is not None
