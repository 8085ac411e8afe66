"""Owns the DMARC policy record: its grammar and its defaults.  RFC 9989 4.7, 4.8, 4.10.1.

Must not know DNS or messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from filterd.auth.tags import parse_tags

MAX_RECORD = 4096  # characters; what comes after is not read (real records have a few hundred)
POLICIES = ("none", "quarantine", "reject")  # RFC 9989 4.7, mildest first
# RFC 9989 4.8: tag names without case, the value of v with case, blanks around "=", v first.
_VERSION = re.compile(r"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s,!]+(?:![0-9]+[kmgtKMGT]?)?")


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """One record, with the defaults filled in.

    Attributes:
        p: policy for the domain itself, and for those below it when sp does not say.
        sp: policy for existing subdomains, None when not given.
        np: policy for subdomains that do not exist, None when not given.
        psd: "y", "n" or "u".
        strict_dkim, strict_spf: adkim=s, aspf=s.
        testing: t=y.
        usable: False when p is missing or invalid, or sp or np invalid, and no address for reports makes up for it.
        text: the record as published, at most MAX_RECORD characters.
    """

    p: str
    sp: str | None
    np: str | None
    psd: str
    strict_dkim: bool
    strict_spf: bool
    testing: bool
    usable: bool
    text: str = ""

    def policy(self, below: bool, exists: bool) -> str:
        """The policy for a domain: that of the record, or one `below` it, which `exists` or not; t=y is applied."""
        stated = self.p
        if below:
            stated = self.sp or self.p
            if not exists and self.np:
                stated = self.np
        level = POLICIES.index(stated)
        return POLICIES[max(0, level - 1)] if self.testing else stated


def is_policy_record(text: str) -> bool:
    """Whether a TXT record is a DMARC policy record at all (RFC 9989 4.10 step 2)."""
    return _VERSION.match(text) is not None


def parse_record(text: str) -> PolicyRecord:
    """The record; `is_policy_record(text)` holds.  Unknown tags and broken ones are ignored."""
    raw = parse_tags(text[:MAX_RECORD], lenient=True)
    tags: dict[str, str] = {}
    for name, value in raw.items():
        tags.setdefault(name.lower(), value)
    lower = {name: value.lower() for name, value in tags.items()}
    p, sp, np = lower.get("p"), lower.get("sp"), lower.get("np")
    valid = p in POLICIES and (sp is None or sp in POLICIES) and (np is None or np in POLICIES)
    if not valid:  # RFC 9989 4.10.1: act as if p=none had been retrieved, if reports are wanted; else no DMARC at all
        p, sp, np = "none", None, None
    reports = any(_URI.fullmatch(uri.strip()) for uri in tags.get("rua", "").split(","))
    return PolicyRecord(
        p or "none",
        sp,
        np,
        lower["psd"] if lower.get("psd") in ("y", "n") else "u",
        lower.get("adkim") == "s",
        lower.get("aspf") == "s",
        lower.get("t") == "y",
        valid or reports,
        text[:MAX_RECORD],
    )
