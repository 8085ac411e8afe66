"""Owns what a row of the decision looks at, and the form of its answer.  Must not know the rows (engine/rows.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from filterd.config import AttachmentsConfig, MalwareConfig, PolicyConfig
from filterd.engine.score import heaviest
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Stage
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action, Contribution


@dataclass(frozen=True, slots=True)
class Case:
    """What a row looks at.

    Attributes:
        evidence: what was found for this recipient, without observed checks.
        reasons: the first finding of each (check, reason).
        config: what the administrator decided.
        content_may_reject: whether the score may refuse on content alone.
        stage: where the transaction stands.
        trust: class of the client.
        exempt: postmaster: never refused, at worst held (RFC 5321 4.5.1).
        contributions: summands of the score.
        score: in log-odds; `without_content` and `beside_authentication` are parts of it.
        malware: what the administrator wants of the malware scan.
        attachments: the same for each kind of attachment.
    """

    evidence: Sequence[Evidence]
    reasons: Mapping[tuple[str, Reason], Evidence]
    config: PolicyConfig
    content_may_reject: bool
    stage: Stage
    trust: TrustClass
    exempt: bool
    contributions: Sequence[Contribution]
    score: float
    without_content: float
    beside_authentication: float
    malware: MalwareConfig = field(default_factory=MalwareConfig)
    attachments: AttachmentsConfig = field(default_factory=AttachmentsConfig)

    @property
    def allowed(self) -> bool:
        """Whether an own list lets the mail in."""
        return ("lists", Reason.ALLOW_LISTED) in self.reasons

    @property
    def decisive(self) -> Evidence:
        """The finding behind the largest contribution."""
        return heaviest(self.evidence, self.contributions)


Found = tuple[Action, Reason, Reply | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the decision.

    Attributes:
        name: as the verdict, the ledger and the metrics have it.
        words: the same for people, behind "Decided by"; `{tag_score}` and its like get the threshold's number.
        ask: what it makes of a case; None when it does not apply.
        always: holds in observe mode too: without it we would relay for strangers or lose mail.
    """

    name: str
    words: str
    ask: Callable[[Case], Found | None]
    always: bool = False
