"""Owns the rows about who the recipients do not want to hear from, and about mail of the own Exchange Online.

Must not know how either is recognised (checks/senders.py, checks/hybrid.py).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from filterd import metrics
from filterd.engine.case import Case, Found
from filterd.mail.evidence import Reason
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action, Verdict

log = logging.getLogger(__name__)

HYBRID_ROW = "hybrid_mail"  # the row's name: what it accepts is passed on as it is (engine/ending.py)
_BLOCKED = ("senders", Reason.BLOCKED_SENDER)
_HYBRID = ("hybrid", Reason.HYBRID_MAIL)
# Our own administrators read it, in their own bounce: it says where to look.
_HYBRID_REPLY = Reply(
    550, "5.7.1", "Hybrid mail must reach Exchange directly, not through a filter (docs/hybrid.md of filterd)"
)


def hybrid_mail(case: Case) -> Found | None:
    """Refused for everybody, postmaster too: strangers do not have such mail, and half a refusal would hide the fault."""
    if _HYBRID in case.reasons and case.exchange.hybrid == "refuse":
        return Action.REJECT, Reason.HYBRID_MAIL, _HYBRID_REPLY
    return None


def hybrid_passed(case: Case) -> Found | None:
    """Past every score, and not past the own block list and malware: what it is known by is proof of Microsoft's servers alone."""
    if _HYBRID in case.reasons and case.exchange.hybrid == "pass":
        return Action.ACCEPT, Reason.HYBRID_MAIL, None
    return None


def blocked_sender_refused(case: Case) -> Found | None:
    """Exchange's own words (facts: exchange.md 1.3); whose list it is stays here."""
    if _BLOCKED in case.reasons and case.config.blocked_senders == "reject" and not case.exempt:
        return Action.REJECT, Reason.BLOCKED_SENDER, Reply(550, "5.7.1", "Sender denied")
    return None


def blocked_sender_held(case: Case) -> Found | None:
    """Also what would be refused to anybody but postmaster."""
    if _BLOCKED in case.reasons and case.config.blocked_senders in ("quarantine", "reject"):
        return Action.QUARANTINE, Reason.BLOCKED_SENDER, None
    return None


def blocked_sender_tagged(case: Case) -> Found | None:
    """Junk at least, as in Outlook; what else speaks against the message was asked before."""
    if _BLOCKED in case.reasons and case.config.blocked_senders == "tag":
        return Action.TAG, Reason.BLOCKED_SENDER, None
    return None


def log_hybrid(who: Mapping[str, str], verdict: Verdict) -> None:
    """Loudly, message by message: somebody's connector points here, and bounces inside a cloud are read late or never."""
    refused = verdict.action is Action.REJECT
    metrics.HYBRID_MAIL.labels("refused" if refused else "passed").inc()
    remedy = "let the Exchange Online connector reach Exchange at a name and address of its own, past filterd: docs/hybrid.md"
    result = "refused" if refused else "passed on as it is, which Exchange no longer takes for its own"
    log.error("hybrid mail came through the filter", extra={**who, "result": result, "remedy": remedy})
