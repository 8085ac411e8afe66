"""Owns what a row of the decision looks at, and the form of its answer.  Must not know the rows (engine/rows.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from filterd.config import AttachmentsConfig, ExchangeConfig, MalwareConfig, PolicyConfig
from filterd.directory.values import Thresholds
from filterd.engine.levels import level_of_score
from filterd.engine.score import heaviest
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Stage
from filterd.mail.reply import Reply, printable
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
        exchange: how mail is marked for Exchange.
        thresholds: the mailbox's own SCL thresholds, as far as they are followed for this client.
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
    exchange: ExchangeConfig = field(default_factory=ExchangeConfig)
    thresholds: Thresholds = field(default_factory=Thresholds)

    @property
    def allowed(self) -> bool:
        """Whether an own list lets the mail in."""
        return ("lists", Reason.ALLOW_LISTED) in self.reasons

    @property
    def decisive(self) -> Evidence:
        """The finding behind the largest contribution."""
        return heaviest(self.evidence, self.contributions)

    @property
    def why(self) -> Reason:
        """The reason of a decision by the score."""
        return self.decisive.reason if self.contributions and self.score > 0 else Reason.OK

    @property
    def may_refuse(self) -> bool:
        """Whether a score may refuse: others than the message itself speak against it, and not its authentication alone."""
        others = self.without_content >= self.config.reject_without_content or self.content_may_reject
        # lists and forwarders break all of authentication at once
        return others and self.beside_authentication > 0 and not self.exempt

    @property
    def level(self) -> int:
        """The SCL that the score alone leads to."""
        return level_of_score(self.score, self.may_refuse, self.config, self.exchange)


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


# RFC 7372 3.3: several authentication checks failed
DMARC_FAILED = Reply(550, "5.7.26", "The author's domain asks to refuse mail that fails DMARC; see your DMARC reports")


def refusal(case: Case) -> Reply:
    """What the client is told when the score refuses.

    Where the domain asks to refuse, its postmaster can act on that, whatever weighed more.
    """
    if ("dmarc", Reason.NOT_ALIGNED_REJECT) in case.reasons:
        return DMARC_FAILED
    return refusal_for(case.decisive)


def refusal_for(decisive: Evidence) -> Reply:
    """The text that the finding brings along, else the usual one."""
    text = decisive.properties.get("reply_text", "")
    if text:
        return Reply(550, "5.7.1", printable(text, 240))
    return Reply(550, "5.7.1", "Message rejected due to content restrictions")
