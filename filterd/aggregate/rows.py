"""Owns what is counted: one row of an aggregate report, in its bounded and stored forms.  RFC 9990 3.1.1.7 to 3.1.1.14.

No mailbox, subject or message id stands in a row: domains, addresses of servers and result words only (RFC 9990 7.2).
Must not know messages, storage or XML.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

# Of the signatures of one row (RFC 9990 3.1.3 allows 100): as many as fit, so that who sends mail does not decide how
# large rows are.  Usual ones have 30 characters.
MAX_SIGNATURES_TEXT = 1000
MAX_TEXT = 253  # characters of a domain; everything else in a row is shorter

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode

OVERRIDES = ("local_policy", "mailing_list", "other", "policy_test_mode", "trusted_forwarder")  # RFC 9990 3.1.6


@dataclass(frozen=True, slots=True)
class Override:
    """Why the disposition is not what the policy asks for; `kind` is one of OVERRIDES."""

    kind: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM signature; `result` is a word of RFC 8601 2.7.1."""

    domain: str
    selector: str
    result: str


@dataclass(frozen=True, slots=True)
class AggregateRow:
    """What several messages have in common.

    Attributes:
        source_ip: address of the SMTP client.
        header_from: the author domain.
        envelope_from: domain of the reverse-path, empty for the null reverse-path.
        envelope_to: domain of the recipients, empty when they have several.
        disposition: none, pass, quarantine or reject: what the policy came to (RFC 9990, ActionDispositionType).
        dkim, spf: pass or fail, of identifier alignment.
        signatures: in the order of RFC 9990 3.1.3.
        spf_domain, spf_result: what SPF says of the MAIL FROM identity; empty when it was not asked.
    """

    source_ip: str
    header_from: str
    envelope_from: str
    envelope_to: str
    disposition: str
    dkim: str
    spf: str
    overrides: tuple[Override, ...] = ()
    signatures: tuple[Signature, ...] = ()
    spf_domain: str = ""
    spf_result: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A message that was seen: the row it belongs to, and whose report that is in.

    Attributes:
        policy_domain: where the policy record was found; RFC 9990 3.1.2: one report for each.
        record: the policy record's text.
    """

    policy_domain: str
    record: str
    row: AggregateRow


def to_text(row: AggregateRow) -> str:
    """The stored form: equal rows have equal texts."""
    overrides = [(item.kind, item.comment) for item in row.overrides]
    signatures = [(item.domain, item.selector, item.result) for item in row.signatures]
    values = [row.source_ip, row.header_from, row.envelope_from, row.envelope_to, row.disposition, row.dkim, row.spf]
    return _ENCODE([*values, overrides, signatures, row.spf_domain, row.spf_result])


def from_text(text: str) -> AggregateRow:
    """The row that `to_text` wrote."""
    values = json.loads(text)
    values[7] = tuple(Override(*item) for item in values[7])
    values[8] = tuple(Signature(*item) for item in values[8])
    return AggregateRow(*values)


def key_of(policy_domain: str, text: str) -> str:
    """Short name of a stored row of that policy domain: of one size, however long the row is."""
    return hashlib.sha256(f"{policy_domain} {text}".encode()).hexdigest()
