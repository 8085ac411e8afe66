"""Owns what a content score says: from how many log-odds on it speaks at all, and for which side.

The content check says it of the model in use, a replay of another one; both must say the same.  Must not know models or policy.
"""

from __future__ import annotations

from filterd.mail.evidence import Reason, Result


def said(log_odds: float, abstain: float) -> tuple[Reason, Result, float]:
    """(reason, result, weight in log-odds) of a score; one nearer to 0 than `abstain` says nothing."""
    if abs(log_odds) < abstain:
        return Reason.UNSURE, Result.NEUTRAL, 0.0
    if log_odds > 0:
        return Reason.LOOKS_LIKE_SPAM, Result.FAIL, log_odds
    return Reason.LOOKS_LIKE_HAM, Result.PASS, log_odds
