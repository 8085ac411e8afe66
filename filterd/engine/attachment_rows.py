"""Owns the rows about attachments: refusal or quarantine, as [attachments] says for each kind.

Must not know how they were found; the check names the key of the table in each finding, the gravest finding first.
"""

from __future__ import annotations

from filterd.config import AttachmentsConfig
from filterd.engine.case import Case, Found
from filterd.mail.evidence import Evidence
from filterd.mail.reply import Reply
from filterd.mail.verdict import Action

_CHECK = "attachments"
_KEY = "policy.attachment"  # property: which key of [attachments] says how the finding is handled


def attachment_refused(case: Case) -> Found | None:
    """Only where the administrator says so; by default no attachment is refused."""
    found = _first(case, "reject")
    if found is None or case.exempt:
        return None
    # Exchange's own text (Set-AttachmentFilterListConfig); which file it is about is for our log alone
    return Action.REJECT, found.reason, Reply(550, "5.7.1", "Message rejected due to unacceptable attachments")


def attachment_held(case: Case) -> Found | None:
    """What [attachments] quarantines, and what it refuses to everybody but postmaster."""
    found = _first(case, "reject") or _first(case, "quarantine")
    return (Action.QUARANTINE, found.reason, None) if found is not None else None


def _first(case: Case, handling: str) -> Evidence | None:
    for item in case.evidence:
        key = item.properties.get(_KEY, "") if item.check == _CHECK else ""
        if key in AttachmentsConfig.model_fields and getattr(case.attachments, key) == handling:
            return item
    return None
