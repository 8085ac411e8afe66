"""Owns tag=value lists.  RFC 6376 3.2; also used by RFC 9989 4.7.

Bounded and linear.  Must not know what a tag means.
"""

from __future__ import annotations

import re

MAX_TAGS = 50  # RFC 6376 defines 14 tags of a signature and 7 of a key, RFC 9989 11 of a policy
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_BLANKS = " \t\r\n"
_NUMBER = re.compile(
    r"[0-9]{1,12}"
)  # RFC 6376 3.5: at most 12 digits for t= and x=; more would be no octet count either


class TagError(ValueError):
    """The text is no tag list; the message says where."""


def parse_tags(text: str, lenient: bool = False) -> dict[str, str]:
    """The tags in their order; names as written, values stripped of surrounding blanks and folds.

    Raises TagError for a pair without "=", a bad name, a repeated name, or more than MAX_TAGS tags.  With `lenient`,
    such a pair is left out instead (RFC 9989 4.8: syntax errors after the version are ignored).
    """
    pairs = text.split(";", MAX_TAGS)
    if len(pairs) > MAX_TAGS and pairs[MAX_TAGS].strip(_BLANKS):
        if not lenient:
            raise TagError(f"more than {MAX_TAGS} tags")
        pairs.pop()
    tags: dict[str, str] = {}
    for index, pair in enumerate(pairs):
        name, equals, value = pair.partition("=")
        name, value = name.strip(_BLANKS), value.strip(_BLANKS)
        if not name and not equals and index == len(pairs) - 1:
            continue  # the list may end with ";"
        if not equals or not _NAME.fullmatch(name):
            problem = f"{pair.strip(_BLANKS)[:40]!r} is no tag"
        elif name in tags:
            problem = f"tag {name} stands there twice"
        else:
            tags[name] = value
            continue
        if not lenient:
            raise TagError(problem)
    return tags


def without_blanks(value: str) -> str:
    """A value whose grammar allows folds anywhere (base64, lists), without them."""
    return value.translate({32: None, 9: None, 13: None, 10: None})


def number(value: str) -> int:
    """A decimal number of at most 12 digits.  Raises TagError."""
    if not _NUMBER.fullmatch(value):
        raise TagError(f"{value[:20]!r} is no number")
    return int(value)


def words(value: str) -> list[str]:
    """A colon-separated list, lower-case, without blanks; empty items are left out."""
    return [item for item in without_blanks(value).lower().split(":") if item]
