"""Owns what a report mail says about what it holds: by the address it went to, or by its subject.

The subjects are Microsoft's format for third-party report buttons.  Must not know how the mail came, nor what is learned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Local-parts below reports.domain, and the labels of the corpus ledger (storage/reports.py).
LABELS = {"spam": "spam", "phish": "phish", "notspam": "ham"}

LOGIN = "smtp.auth"  # property of the evidence about a report address: who was logged in (RFC 8601 2.7.4)

_PREFIXES = {"1|": "spam", "junk:": "spam", "2|": "ham", "not junk:": "ham", "3|": "phish", "phishing:": "phish"}
_PREFIX = re.compile(r"\s{0,20}(1\||2\||3\||junk:|not junk:|phishing:)", re.I)


def label_of_address(address: str) -> str | None:
    """The label of a report address, None when it is none."""
    return LABELS.get(address.rpartition("@")[0].lower())


def label_of_subject(subject: str, attached: Iterable[str] = ()) -> str | None:
    """The label that a subject begins with, None when with none.

    `attached`: subjects of the attached messages.  Some programs put one of them above the report, whole or cut off; its author
    would then say what his message is, so a prefix that one of them begins with too says nothing.
    """
    prefix = _prefix(subject)
    if not prefix or prefix in map(_prefix, attached):
        return None
    return _PREFIXES[prefix]


def _prefix(subject: str) -> str:
    match = _PREFIX.match(subject)
    return match[1].lower() if match else ""
