"""Owns which domains somebody stands for: what DMARC, SPF and DKIM found, read together.  RFC 9989 4.4.

Must not know what a domain is proven for.
"""

from __future__ import annotations

from collections.abc import Iterable

from filterd.mail.evidence import Evidence, Reason, Result

# An SPF pass of the HELO name alone says nothing about who wrote the message.
_IDENTIFIERS = {"dmarc": "header.from", "spf": "smtp.mailfrom", "dkim": "header.d"}


def proven_domains(evidence: Iterable[Evidence]) -> frozenset[str]:
    """Author domains that pass DMARC (also where a trusted sealer saw it), reverse-paths that pass SPF, signing domains."""
    return frozenset(
        item.properties[_IDENTIFIERS[item.check]]
        for item in evidence
        if item.check in _IDENTIFIERS
        and _IDENTIFIERS[item.check] in item.properties
        and (item.result is Result.PASS or item.reason is Reason.NOT_ALIGNED_BUT_SEALED)
    )
