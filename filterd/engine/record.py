"""Owns the JSON form of a verdict: one shape for the evidence record, `filterd scan --json` and the API.

Must not know where it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from filterd.engine.words import finding_text
from filterd.mail.evidence import Evidence
from filterd.mail.verdict import Verdict
from filterd.ports import EvidenceRecord

RECORD_VERSION = 1


def verdict_json(verdict: Verdict, recipient: str, reply: str = "") -> dict[str, Any]:
    """One recipient's verdict; the contributions add up to the score, to the last digit."""
    return {
        "recipient": recipient,
        "action": verdict.action.value,
        "would": verdict.would.value,
        "scl": verdict.scl,
        "score": verdict.score,
        "probability": round(verdict.probability, 6),
        "reason": verdict.reason.value,
        "row": verdict.row,
        "reply": reply or (str(verdict.reply) if verdict.reply else ""),
        "contributions": [
            {"check": item.check, "text": item.text, "log_odds": item.log_odds} for item in verdict.contributions
        ],
        "unavailable": list(verdict.unavailable),
    }


def evidence_json(evidence: Sequence[Evidence], verdict: Verdict) -> list[dict[str, Any]]:
    """Every finding with the weight that it had in `verdict`; each contribution is given to one finding."""
    left = list(verdict.contributions)
    out = []
    for item in evidence:
        weight = 0.0
        for contribution in left:
            if contribution.check == item.check and finding_text(item) == contribution.text:
                weight = contribution.log_odds
                left.remove(contribution)
                break
        out.append({**item.as_dict(), "weight": weight})
    return out


def evidence_record(
    evidence: Sequence[Evidence],
    verdicts: Sequence[tuple[str, Verdict]],
    features: bytes = b"",
    model: str = "",
    dns: Sequence[dict[str, Any]] = (),
) -> EvidenceRecord:
    """The record of a message; its headline is the strictest of the verdicts.  `dns`: as lookups.Lookups.record gives it."""
    order = ["accept", "tag", "quarantine", "defer", "reject", "disconnect"]
    headline = max((v for _, v in verdicts), key=lambda v: order.index(v.action.value))
    return EvidenceRecord(
        action=headline.action.value,
        scl=headline.scl,
        score=headline.score,
        probability=headline.probability,
        verdicts=[verdict_json(verdict, recipient) for recipient, verdict in verdicts],
        evidence=evidence_json(evidence, headline),
        model=model,
        features=features,
        version=RECORD_VERSION,
        extra={"dns": list(dns)} if dns else {},
    )
