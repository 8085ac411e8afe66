"""Owns the SCL: what a score is in Exchange's levels, and which level a decision gets.  Facts: exchange.md 1.6.

Must not know the rows that decide (engine/rows.py), nor how the level is told to Exchange (engine/marks.py).
"""

from __future__ import annotations

from filterd.config import ExchangeConfig, PolicyConfig
from filterd.engine.tables import SCL_DOUBTFUL, SCL_HAM, SCL_REJECT
from filterd.mail.verdict import Action

# Rows whose own thresholds are levels: the level stays that of the score, so that it can be compared with the threshold.
MAILBOX_ROWS = frozenset({"mailbox_reject", "mailbox_quarantine", "mailbox_delete", "mailbox_junk"})


def level_of_score(score: float, may_refuse: bool, config: PolicyConfig, exchange: ExchangeConfig) -> int:
    """The SCL that a score alone leads to.

    Args:
        score: in log-odds.
        may_refuse: whether such a score would be refused; without it 9 is out of reach.
    """
    if score >= config.reject_score and may_refuse:
        return SCL_REJECT
    if score >= config.quarantine_score:
        return exchange.scl_quarantine
    if score >= config.tag_score:
        return exchange.scl_tag
    return _level_of_ham(score)


def level_of_decision(
    row: str, would: Action, score: float, by_score: int, exchange: ExchangeConfig, junk: int | None = None
) -> int:
    """The SCL of a verdict: that of what is done with the message, whatever its score is.

    Args:
        would: the action without observe mode.
        by_score: as level_of_score gives it.
        junk: the mailbox's own junk threshold; what is tagged whatever its score is lies above it.
    """
    if row == "allow_list":
        return exchange.scl_allow_listed
    if row in MAILBOX_ROWS:
        return by_score
    if would in (Action.REJECT, Action.DISCONNECT):
        return SCL_REJECT
    if would is Action.QUARANTINE:
        return exchange.scl_quarantine
    if would is Action.TAG:
        return min(SCL_REJECT, max(exchange.scl_tag, -1 if junk is None else junk + 1))
    return _level_of_ham(score)


def bounds_of_levels(config: PolicyConfig) -> tuple[float, ...]:
    """Every score at which the level changes, lowest first."""
    ham = [bound for bound, _ in SCL_HAM if bound < config.tag_score]
    return (*ham, config.tag_score, config.quarantine_score, config.reject_score)


def _level_of_ham(score: float) -> int:
    return next((scl for bound, scl in SCL_HAM if score < bound), SCL_DOUBTFUL)
