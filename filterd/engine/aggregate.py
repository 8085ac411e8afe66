"""Owns what of a message is counted for DMARC aggregate reports, and which messages are not.  RFC 9990 3.1.1.

Built from evidence and verdicts alone.  Must not know where rows are kept, nor what becomes of them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from filterd import metrics
from filterd.aggregate.published import Published, published
from filterd.aggregate.rows import MAX_SIGNATURES_TEXT, MAX_TEXT, OVERRIDES, AggregateRow, Override, Sighting, Signature
from filterd.auth.dmarc_record import POLICIES, is_policy_record
from filterd.auth.names import ascii_domain, is_same_or_below
from filterd.mail.envelope import Connection, Envelope, Recipient
from filterd.mail.evidence import Evidence, Result
from filterd.mail.message import Message
from filterd.mail.verdict import Action, Verdict

log = logging.getLogger(__name__)

Verdicts = Sequence[tuple[Recipient, Verdict]]

# How far an action goes, in the words of POLICIES; a deferred message is counted when it has its end.
_REACH = {Action.ACCEPT: 0, Action.TAG: 0, Action.QUARANTINE: 1, Action.REJECT: 2, Action.DISCONNECT: 2}
# RFC 9990 3.5.2; Google writes "Report domain:"
_REPORT_SUBJECT = re.compile(r"\s*Report\s+Domain:\s+\S+\s+Submitter:\s+\S", re.IGNORECASE)
_WEAKER = "the policy was applied in part or not at all"


@dataclass(frozen=True, slots=True)
class DmarcNotes:
    """Counts messages, in the background: no answer waits for it or fails with it.

    Attributes:
        note_sighting: where a message goes that counts; returns at once.
        own_address: the mailbox that our reports come from, as Mailbox.key.
    """

    note_sighting: Callable[[Sighting], None]
    own_address: str

    def note(
        self,
        connection: Connection,
        envelope: Envelope,
        evidence: Sequence[Evidence],
        verdicts: Verdicts,
        message: Message,
    ) -> None:
        """One message has its end.  Never raises."""
        try:
            if self._in_a_loop(envelope, evidence, message):
                return
            sighting = sighting_of(connection, envelope, evidence, [verdict for _, verdict in verdicts])
            if sighting is not None:
                self.note_sighting(sighting)
        except Exception:  # a fault of ours in counting must not touch mail
            metrics.DMARC_ROWS.labels("lost").inc()
            log.exception("a message cannot be counted for DMARC reports", extra={"id": envelope.id})

    def _in_a_loop(self, envelope: Envelope, evidence: Sequence[Evidence], message: Message) -> bool:
        """Whether counting it would make reports about reports, every day one more.

        That is mail to our own report address (bounces of reports), mail from it in its own name, and reports of others;
        these only when every author is authentic.  What is asked of each is more than a forger can do, so that our public
        address or a subject hides nobody's forgeries from the owner of the domain.
        """
        dmarc = [item for item in evidence if item.check == "dmarc"]
        if all(recipient.mailbox.key == self.own_address for recipient in envelope.recipients):
            return True
        if envelope.reverse_path is not None and envelope.reverse_path.key == self.own_address:
            own_domain = ascii_domain(envelope.reverse_path.domain)
            return all(ascii_domain(item.properties.get("header.from", "")) == own_domain for item in dmarc)
        passed = bool(dmarc) and all(item.result is Result.PASS for item in dmarc)
        return passed and _REPORT_SUBJECT.match(message.subject) is not None


def sighting_of(
    connection: Connection, envelope: Envelope, evidence: Sequence[Evidence], verdicts: Sequence[Verdict]
) -> Sighting | None:
    """What is counted of a message; None when it was deferred, DMARC gave no result, or nobody asks for reports."""
    # Of several author domains the first that fails: an author of one's own beside it would hide a forgery.
    found = {item.result: item for item in reversed(evidence) if item.check == "dmarc"}
    dmarc = found.get(Result.FAIL) or found.get(Result.PASS)
    if dmarc is None:
        return None
    if not verdicts or any(verdict.action not in _REACH for verdict in verdicts):
        return None
    facts = dmarc.properties
    record, policy_domain = facts.get("record", ""), ascii_domain(facts.get("record_domain", ""))
    if policy_domain is None or not is_policy_record(record):
        return None
    asked = published(record)
    if not asked.destinations:
        return None
    disposition, overrides = _disposition(dmarc, asked, policy_domain, [verdict.action for verdict in verdicts])
    header_from = _domain(facts.get("header.from", ""))
    domains = {recipient.mailbox.domain_key for recipient in envelope.recipients}
    spf_domain, spf_result = _spf(evidence)
    row = AggregateRow(
        source_ip=str(connection.client_ip),
        header_from=header_from,
        envelope_from=_domain(envelope.reverse_path.domain_key) if envelope.reverse_path else "",
        envelope_to=_domain(domains.pop()) if len(domains) == 1 else "",
        disposition=disposition,
        dkim=_aligned(facts.get("aligned_dkim")),
        spf=_aligned(facts.get("aligned_spf")),
        overrides=overrides,
        signatures=_signatures(evidence, header_from),
        spf_domain=spf_domain,
        spf_result=spf_result,
    )
    return Sighting(policy_domain, record, row)


def _disposition(
    dmarc: Evidence, asked: Published, policy_domain: str, actions: Sequence[Action]
) -> tuple[str, tuple[Override, ...]]:
    """What the policy came to, and why when that is less than it asks for.

    Of several recipients the mildest action counts: the message reached somebody.  More than the policy asks for is not
    told: that is what other filters did (RFC 9990 8.3).
    """
    facts = dmarc.properties
    applied = facts.get("policy.dmarc", "none")
    applied = applied if applied in POLICIES else "none"
    if dmarc.result is Result.PASS:
        return ("none" if applied == "none" else "pass"), ()
    overrides: list[Override] = []
    if _lowered_by_test_mode(asked, applied, facts.get("header.from", "") != policy_domain):
        overrides.append(Override("policy_test_mode"))
    reached = min(_REACH[action] for action in actions)
    if reached < POLICIES.index(applied):
        given = facts.get("override", "")
        kind = given if given in OVERRIDES else "local_policy"
        overrides.append(Override(kind, facts.get("override_comment", "")[:MAX_TEXT] or _WEAKER))
    return POLICIES[min(reached, POLICIES.index(applied))], tuple(overrides)


def _lowered_by_test_mode(asked: Published, applied: str, below: bool) -> bool:
    """Whether t=y made the policy milder; whether an author domain below the record's exists is not known any more."""
    stated = {asked.policy.p}
    if below:
        existing = asked.policy.sp or asked.policy.p
        stated = {existing, asked.policy.np or existing}
    level = POLICIES.index(applied)
    return asked.policy.testing and any(POLICIES.index(policy) == level + 1 for policy in stated)


def _signatures(evidence: Sequence[Evidence], header_from: str) -> tuple[Signature, ...]:
    """Every signature that was looked at, each once, those that say most first (RFC 9990 3.1.3)."""
    found: dict[Signature, None] = {}
    for item in evidence:
        domain = item.properties.get("header.d", "")
        if item.check == "dkim" and domain:
            selector = item.properties.get("header.s", "")[:MAX_TEXT]
            result = item.result if item.result is not Result.SOFTFAIL else Result.FAIL  # no word of DKIM's
            found[Signature(_domain(domain), selector, result.value)] = None

    def rank(signature: Signature) -> tuple[bool, bool, bool]:
        near = is_same_or_below(signature.domain, header_from) or is_same_or_below(header_from, signature.domain)
        return signature.result != "pass", signature.domain != header_from, not near

    ranked = sorted(found, key=rank)
    sizes = accumulate(len(signature.domain) + len(signature.selector) for signature in ranked)
    return tuple(signature for signature, size in zip(ranked, sizes, strict=True) if size <= MAX_SIGNATURES_TEXT)


def _spf(evidence: Sequence[Evidence]) -> tuple[str, str]:
    """(domain, result) of the MAIL FROM identity, which is that of HELO for the null reverse-path (RFC 7208 2.4)."""
    for item in evidence:
        domain = item.properties.get("smtp.mailfrom") or item.properties.get("smtp.helo")
        if item.check == "spf" and item.detail != "helo" and domain:
            return _domain(domain.rpartition("@")[2]), item.result.value
    return "", ""


def _aligned(value: str | None) -> str:
    return "pass" if value == "pass" else "fail"


def _domain(text: str) -> str:
    """A domain in A-labels; what is none stays as it was, but not longer."""
    return ascii_domain(text) or text[:MAX_TEXT]
