"""Owns the JSON form of a verdict and its explanation: one shape for the evidence record, `filterd scan --json` and the API.

Must not know where it goes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from filterd.engine.flip import STRICTNESS, Change, change_for
from filterd.engine.levels import MAILBOX_ROWS
from filterd.engine.mailbox_rows import thresholds_of
from filterd.engine.policy import Policy, is_exempt
from filterd.engine.rows import row_words
from filterd.engine.score import thousandths
from filterd.engine.tables import FAILED, FAILURE, OnFailure
from filterd.engine.words import finding_text, missing_text
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence
from filterd.mail.verdict import Action, Contribution, Verdict
from filterd.ports import USER, EvidenceRecord

log = logging.getLogger(__name__)

# 2: contributions have clues; verdicts have stage, decided_by, missing and nearest_change.  Readers take 1 as well.
RECORD_VERSION = 2
TRUST = "trust"  # in `extra`: class of the client, without which no record can be decided again
_MAX_USER = 320  # characters: a mailbox (RFC 5321 4.5.3.1)
_MAX_CHANGES = 16  # searches for one message, 3 ms each, during which nobody else is served


class Explainer:
    """Writes the verdicts of one message with their explanations.

    The nearest change of accepted mail is looked for only on demand (`accepted`): on the mail path nobody will ask, and it
    costs a tenth of a millisecond.  Recipients for whom the same was found share it; of the many kinds that thresholds of
    their own can make of thousands, those behind the first _MAX_CHANGES have none.
    """

    def __init__(
        self,
        evidence: Sequence[Evidence],
        policy: Policy | None,
        trust: TrustClass = TrustClass.INTERNET,
        accepted: bool = False,
    ) -> None:
        """`policy`: that the verdicts were given under; None when no change is to be looked for."""
        self._policy, self._trust, self._accepted = policy, trust, accepted
        self._common = [item for item in evidence if item.recipient is None]
        self._own: dict[str | None, list[Evidence]] = {}
        for item in evidence:
            if item.recipient is not None:
                self._own.setdefault(item.recipient, []).append(item)
        self._changes: dict[object, Change | None] = {}

    def verdict(self, verdict: Verdict, recipient: str, reply: str = "") -> dict[str, Any]:
        """One recipient's verdict; contributions add up to the score and their clues to them, to the last digit."""
        change = self._change(verdict)
        return {
            "recipient": recipient,
            "action": verdict.action.value,
            "would": verdict.would.value,
            "stage": verdict.stage.value,
            "scl": verdict.scl,
            "score": verdict.score,
            "probability": round(verdict.probability, 6),
            "reason": verdict.reason.value,
            "row": verdict.row,
            "decided_by": self._decided_by(verdict),
            "reply": reply or (str(verdict.reply) if verdict.reply else ""),
            "contributions": [
                {
                    "check": item.check,
                    "text": item.text,
                    "log_odds": item.log_odds,
                    "clues": [{"text": clue.text, "log_odds": clue.log_odds} for clue in item.clues],
                }
                for item in verdict.contributions
            ],
            "unavailable": list(verdict.unavailable),
            "missing": self._missing(verdict),
            "nearest_change": change.as_dict() if change else None,
        }

    def _decided_by(self, verdict: Verdict) -> str:
        """The row in words; where the score would refuse, why it does not."""
        config = self._policy.config if self._policy else None
        own = thresholds_of(self._about(verdict)) if verdict.row in MAILBOX_ROWS else None
        words = row_words(verdict.row, config, own)
        wanted = verdict.row == "quarantine_score" and config is not None and verdict.score >= config.reject_score
        if not wanted and (verdict.row != "mailbox_reject" or verdict.would is not Action.QUARANTINE):
            return words
        if is_exempt(verdict.recipient):
            why = "postmaster"
        elif config is not None and verdict.score < config.tag_score:
            why = f"the score stays below {config.tag_score:g}"
        else:
            why = "what speaks against it is mostly the message itself"
        return f"{words}, but not refused: {why}"

    def _missing(self, verdict: Verdict) -> list[dict[str, str]]:
        """What could not be known, why, and what that meant."""
        out = []
        deferred = verdict.row == "unavailable"
        for item in self._about(verdict) if verdict.unavailable else ():
            if item.reason in FAILED:
                row = FAILURE.get(item.check)
                waited = deferred and row is not None and row.meaning(self._trust) is OnFailure.DEFER
                meaning = "the sender was told to come again" if waited else "judged without it"
                out.append({"check": item.check, "text": missing_text(item), "meaning": meaning})
        return out

    def _change(self, verdict: Verdict) -> Change | None:
        if self._policy is None or (verdict.would is Action.ACCEPT and not self._accepted):
            return None
        own = tuple((item.check, item.reason) for item in self._own.get(verdict.recipient, ()))
        limits = thresholds_of(self._own.get(verdict.recipient, ()))
        exempt = is_exempt(verdict.recipient)
        key = (verdict.row, verdict.would, verdict.millis, verdict.stage, own, limits, exempt)
        if key not in self._changes:
            if len(self._changes) >= _MAX_CHANGES:
                return None
            try:
                self._changes[key] = change_for(verdict, self._about(verdict), self._policy, self._trust)
            except Exception:  # a fault in the explanation costs the explanation, not the message
                log.exception("cannot look for the nearest change")
                self._changes[key] = None
        return self._changes[key]

    def _about(self, verdict: Verdict) -> list[Evidence]:
        return [*self._common, *self._own.get(verdict.recipient, ())]


def evidence_json(evidence: Sequence[Evidence], verdict: Verdict) -> list[dict[str, Any]]:
    """Every finding with the weight that it had in `verdict`; each contribution is given to one finding of that recipient's."""
    left = list(verdict.contributions)
    out = []
    for item in evidence:
        counted = left if item.recipient in (None, verdict.recipient) else ()
        own = next((contribution for contribution in counted if _is_of(contribution, item)), None)
        if own is not None:
            left.remove(own)
        out.append({**item.as_dict(), "weight": own.log_odds if own is not None else 0.0})
    return out


def _is_of(contribution: Contribution, item: Evidence) -> bool:
    """Whether it may be the one of that finding; findings of one text (tables of one zone) differ by what was measured."""
    if contribution.check != item.check or contribution.text != finding_text(item):
        return False
    return item.measured is None or contribution.millis == thousandths(item.measured)


def evidence_record(
    evidence: Sequence[Evidence],
    verdicts: Sequence[tuple[str, Verdict]],
    features: bytes = b"",
    model: str = "",
    dns: Sequence[dict[str, Any]] = (),
    policy: Policy | None = None,
    trust: TrustClass = TrustClass.INTERNET,
    user: str = "",
) -> EvidenceRecord:
    """The record of a message; its headline is the strictest of the verdicts.

    Args:
        dns: as lookups.Lookups.record gives it.
        policy: that the verdicts were given under; without it no nearest change is looked for.
        user: who was logged in; empty for nobody.
    """
    headline = max((v for _, v in verdicts), key=lambda v: STRICTNESS.index(v.action))
    explainer = Explainer(evidence, policy, trust)
    return EvidenceRecord(
        action=headline.action.value,
        scl=headline.scl,
        score=headline.score,
        probability=headline.probability,
        verdicts=[explainer.verdict(verdict, recipient) for recipient, verdict in verdicts],
        evidence=evidence_json(evidence, headline),
        model=model,
        features=features,
        version=RECORD_VERSION,
        extra={TRUST: trust.value, **({"dns": list(dns)} if dns else {}), **({USER: user[:_MAX_USER]} if user else {})},
    )
