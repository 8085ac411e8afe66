"""Owns deciding a recorded message again: the same evidence, another content score or another policy.  Pure.

What was found before DATA decides a refusal at RCPT alone, as it did then.  Must not know where records lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from filterd.classifier.finding import said
from filterd.engine.flip import STRICTNESS
from filterd.engine.policy import Policy, decide
from filterd.engine.record import TRUST
from filterd.engine.tables import FAILED
from filterd.mail.address import parse_mailbox
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.verdict import Action, Verdict
from filterd.ports import EvidenceRecord

_CHECK = "content"


@dataclass(frozen=True, slots=True)
class Again:
    """One recipient's verdict, decided again.

    Attributes:
        recipient: as in the record.
        recorded: the verdict that the record has, as engine.record writes it.
        verdict: the one that the evidence and policy give now.
    """

    recipient: str
    recorded: Mapping[str, Any]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Beside:
    """What a shadow model said of a message: its name in records, log-odds, whether the content was familiar to it."""

    model: str
    log_odds: float
    familiar: bool


def findings(record: EvidenceRecord) -> list[Evidence]:
    """The evidence of a record.  Raises KeyError or ValueError when another program wrote it."""
    return [Evidence.from_dict(item) for item in record.evidence]


def trust_of(record: EvidenceRecord, otherwise: TrustClass = TrustClass.INTERNET) -> TrustClass:
    """Class of the client; records of older programs do not have it."""
    try:
        return TrustClass(record.extra.get(TRUST, otherwise))
    except ValueError:
        return otherwise


def replay(record: EvidenceRecord, evidence: Sequence[Evidence], policy: Policy, trust: TrustClass) -> list[Again]:
    """Every recipient of the record decided again from `evidence`: that of the record, or what was made of it."""
    early = [item for item in evidence if item.stage is not Stage.DATA]
    out = []
    for recorded in record.verdicts:
        name = str(recorded["recipient"])
        if not name:  # nobody was asked for, or the message was never examined: there was nothing to decide
            continue
        stage = Stage(recorded.get("stage", Stage.DATA))
        mailbox = parse_mailbox(name)
        key = mailbox.key if mailbox else name.lower()
        known = evidence if stage is Stage.DATA else early
        out.append(Again(name, recorded, decide(known, policy, stage, key, trust)))
    return out


def strictest(again: Sequence[Again]) -> Action:
    """What is done with the message at the strictest, observe mode looked through; ACCEPT for nobody."""
    return max((item.verdict.would for item in again), key=STRICTNESS.index, default=Action.ACCEPT)


def strictness(action: Action) -> int:
    """Place of an action, mildest first."""
    return STRICTNESS.index(action)


def content_of(evidence: Sequence[Evidence]) -> Evidence | None:
    """The finding of the content check; None when it could not answer, or was not asked."""
    return next((item for item in evidence if item.check == _CHECK and item.reason not in FAILED), None)


def beside(finding: Evidence) -> Beside | None:
    """What a shadow said beside this finding; None when there was none, or it failed."""
    properties = finding.properties
    try:
        log_odds = float(properties["shadow_log_odds"])
    except (KeyError, ValueError):
        return None
    return Beside(properties.get("shadow_model", ""), log_odds, properties.get("shadow_familiar") == "yes")


def with_content(evidence: Sequence[Evidence], log_odds: float, familiar: bool, abstain: float) -> list[Evidence]:
    """The evidence as if the content had been judged so."""
    reason, result, weight = said(log_odds, abstain)

    def judged(item: Evidence) -> Evidence:
        properties = {**item.properties, "familiar": "yes" if familiar else "no"}
        return replace(item, reason=reason, result=result, measured=weight, clues=(), properties=properties)

    return [judged(item) if item.check == _CHECK and item.reason not in FAILED else item for item in evidence]


def without_content(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The evidence as if the content had said nothing."""

    def silent(item: Evidence) -> Evidence:
        return replace(item, reason=Reason.UNSURE, result=Result.NEUTRAL, measured=0.0, clues=())

    return [silent(item) if item.check == _CHECK and item.reason not in FAILED else item for item in evidence]
