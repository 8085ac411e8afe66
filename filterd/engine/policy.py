"""Owns `decide`: the verdict as a pure function of (evidence, policy).  No I/O, no clock, no counters.

The sum is engine/score.py's, what it leads to stands row by row in engine/rows.py, numbers in engine/tables.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from filterd.config import AttachmentsConfig, Config, ExchangeConfig, MalwareConfig, PolicyConfig
from filterd.directory.values import Thresholds
from filterd.engine.case import Case
from filterd.engine.levels import level_of_decision
from filterd.engine.mailbox_rows import thresholds_of
from filterd.engine.rows import first_row
from filterd.engine.score import beside_authentication, contributions, is_unfamiliar, without_content
from filterd.engine.tables import FAILED
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Stage
from filterd.mail.verdict import Action, Verdict


@dataclass(frozen=True, slots=True)
class Policy:
    """What the administrator decided, as the decision needs it."""

    config: PolicyConfig = field(default_factory=PolicyConfig)
    content_may_reject: bool = False  # the seed model never refuses alone; a site's own model neither, by default
    malware: MalwareConfig = field(default_factory=MalwareConfig)
    attachments: AttachmentsConfig = field(default_factory=AttachmentsConfig)
    exchange: ExchangeConfig = field(default_factory=ExchangeConfig)

    @classmethod
    def of(cls, config: Config) -> Self:
        """The policy of a configuration; everything that decides, and everything that decides again, asks here."""
        return cls(config.policy, malware=config.malware, attachments=config.attachments, exchange=config.exchange)


def decide(
    evidence: Sequence[Evidence],
    policy: Policy,
    stage: Stage = Stage.DATA,
    recipient: str | None = None,
    trust: TrustClass = TrustClass.INTERNET,
) -> Verdict:
    """The verdict for one recipient.

    Args:
        evidence: everything found for the connection, the transaction and its recipients.
        stage: before DATA only refusals and deferrals are decided; thresholds below them wait for the message.
        recipient: mailbox; findings of other recipients are left out.
    """
    relevant = [e for e in evidence if e.recipient is None or e.recipient == recipient]
    weighed = [e for e in relevant if e.check not in policy.config.observe_checks]
    summands = contributions(relevant, policy.config)
    millis = sum(item.millis for item in summands)
    case = Case(
        evidence=weighed,
        reasons={(e.check, e.reason): e for e in reversed(weighed)},
        config=policy.config,
        content_may_reject=policy.content_may_reject and not is_unfamiliar(relevant),
        stage=stage,
        trust=trust,
        exempt=is_exempt(recipient),
        contributions=summands,
        score=millis / 1000,
        without_content=without_content(summands),
        beside_authentication=beside_authentication(summands, is_unfamiliar(weighed)),
        malware=policy.malware,
        attachments=policy.attachments,
        exchange=policy.exchange,
        thresholds=_thresholds(weighed, policy, trust),
    )
    row, (would, reason, reply) = first_row(case)
    action = would
    if policy.config.observe and not row.always and would is not Action.ACCEPT:
        action, reply = Action.ACCEPT, None
    return Verdict(
        action=action,
        scl=level_of_decision(row.name, would, case.score, case.level, policy.exchange, case.thresholds.junk),
        millis=millis,
        probability=_logistic(millis / 1000),
        reason=reason,
        row=row.name,
        reply=reply,
        contributions=tuple(summands),
        unavailable=tuple(sorted({e.check for e in relevant if e.reason in FAILED})),
        would=would,
        stage=stage,
        recipient=recipient,
    )


def is_exempt(recipient: str | None) -> bool:
    """Whether it is postmaster, who is never refused (RFC 5321 4.5.1)."""
    return (recipient or "").lower().startswith("postmaster@")


def weigh(evidence: Sequence[Evidence], policy: Policy) -> float:
    """The score of what was found so far, in log-odds."""
    return sum(item.millis for item in contributions(evidence, policy.config)) / 1000


def _thresholds(evidence: Sequence[Evidence], policy: Policy, trust: TrustClass) -> Thresholds:
    """Followed for mail from the internet only: Exchange does not filter what its own people and machines send either."""
    if policy.exchange.mailbox_thresholds and trust is TrustClass.INTERNET:
        return thresholds_of(evidence)
    return Thresholds()


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
