"""Owns the rows of a mailbox's own SCL thresholds: junk is strictly above it, the others are reached.  Facts: exchange.md 1.6.

Quarantine and refusal only become stricter by them; deletion is done as quarantine, where nothing is lost.  Must not know which
directory has them: the recipient check writes them into the properties of its evidence, from where old messages have them too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from filterd.directory.values import Thresholds
from filterd.engine.case import Case, Found, refusal
from filterd.mail.evidence import Evidence
from filterd.mail.verdict import Action

_CHECK = "recipient"
# Property of the check's evidence -> field of Thresholds; a test compares them with checks/recipient.py.
PROPERTIES: Mapping[str, str] = {
    "scl_junk": "junk",
    "scl_quarantine": "quarantine",
    "scl_reject": "reject",
    "scl_delete": "delete",
}
_MOST = 9  # the highest SCL


def has_thresholds(item: Evidence) -> bool:
    """Whether it is the finding that carries a mailbox's own thresholds."""
    return item.check == _CHECK and not PROPERTIES.keys().isdisjoint(item.properties)


def thresholds_of(evidence: Iterable[Evidence]) -> Thresholds:
    """The thresholds of the mailbox that the evidence is about; what is no SCL is none."""
    found: dict[str, int] = {}
    for item in evidence:
        for name, field in PROPERTIES.items() if has_thresholds(item) else ():
            text = item.properties.get(name, "")
            if len(text) == 1 and text in "0123456789":
                found[field] = int(text)
    return Thresholds(**found)


def mailbox_refused(case: Case) -> Found | None:
    """With the safeguards of reject_score: never for content alone, never postmaster.  What is below tag_score is ham: held at worst."""
    is_spam = case.score >= case.config.tag_score
    return (
        (Action.REJECT, case.decisive.reason, refusal(case)) if _refuses(case) and is_spam and case.may_refuse else None
    )


def mailbox_not_refused(case: Case) -> Found | None:
    """What the mailbox would refuse and the safeguards keep from being refused."""
    return (Action.QUARANTINE, case.why, None) if _refuses(case) else None


def _refuses(case: Case) -> bool:
    limit = case.thresholds.reject
    return limit is not None and case.level >= limit


def mailbox_held(case: Case) -> Found | None:
    """Its own quarantine threshold is reached."""
    limit = case.thresholds.quarantine
    return (Action.QUARANTINE, case.why, None) if limit is not None and case.level >= limit else None


def mailbox_deleted(case: Case) -> Found | None:
    """Its own delete threshold is reached: held, so that nothing is lost."""
    limit = case.thresholds.delete
    return (Action.QUARANTINE, case.why, None) if limit is not None and case.level >= limit else None


def mailbox_junk(case: Case) -> Found | None:
    """Where the mailbox draws the line of its Junk folder elsewhere than tag_score does."""
    limit = case.thresholds.junk
    if limit is None or (case.level > limit) == (case.score >= case.config.tag_score):
        return None
    return (Action.TAG if case.level > limit else Action.ACCEPT), case.why, None
