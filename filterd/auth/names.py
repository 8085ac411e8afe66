"""Owns the form in which domains are compared and asked for: lower-case A-labels.  RFC 1035 2.3.4, RFC 5890 2.3.

Must not know what a domain is used for.
"""

from __future__ import annotations

import re

MAX_DOMAIN = 253  # characters of a name without final dot (RFC 1035 2.3.4: 255 octets on the wire)
MAX_U_LABELS = 8  # labels outside ASCII; real names have up to four, and each costs ten microseconds
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")  # underscore: selectors, and hosts that are in use
_DOTS = re.compile("[\u3002\uff0e\uff61]")  # RFC 3490 3.1: what an input method may give for a dot


def ascii_domain(text: str) -> str | None:
    """The domain in lower-case A-labels without final dot; None when it is not a domain name.  One label is enough.

    With more than MAX_U_LABELS labels outside ASCII it is none.
    """
    name = text.removesuffix(".")
    if not 0 < len(name) <= MAX_DOMAIN:
        return None
    labels = name.lower().split(".") if name.isascii() else _a_labels(_DOTS.sub(".", name).split("."))
    result = ".".join(labels)
    if len(result) > MAX_DOMAIN or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return result


def _a_labels(labels: list[str]) -> list[str]:
    if sum(not label.isascii() for label in labels) > MAX_U_LABELS:
        return [""]  # no name
    return [_a_label(label) for label in labels]


def _a_label(label: str) -> str:
    """One label in ASCII; "" when it has no such form.  `label` is at most MAX_DOMAIN characters."""
    if label.isascii():
        return label.lower()
    try:
        return label.encode("idna").decode("ascii").lower()
    except UnicodeError:
        pass
    try:  # letters younger than the library's tables (IDNA 2003): the encoding itself has not changed
        return "xn--" + label.lower().encode("punycode").decode("ascii")
    except UnicodeError:
        return ""


def is_address(text: str) -> bool:
    """Whether the name has only numbers as labels: an IPv4 address or a part of one, never a mail domain."""
    return all(label.isdigit() for label in text.split("."))


def is_same_or_below(name: str, parent: str) -> bool:
    """Whether `name` is `parent` or a subdomain of it; both as `ascii_domain` gives them."""
    return name == parent or name.endswith("." + parent)
