"""Owns the rows for mail of our own Exchange for the world: what is refused, and that nothing is held and no score refuses.

What inbound mail would be held for is refused with its reason: Exchange tells its user, and nothing lies where nobody looks.
Must not know how mail is handed over (engine/outbound.py).
"""

from __future__ import annotations

from filterd.engine.attachment_rows import attachment_held
from filterd.engine.case import Case, Found
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason
from filterd.mail.reply import Reply, printable
from filterd.mail.verdict import Action


def outbound_rate(case: Case) -> Found | None:
    """Also when an own list lets Exchange in: it is about one of its users."""
    if ("outbound_rate", Reason.RATE_EXCEEDED) not in case.reasons:
        return None
    reply = Reply(450, "4.7.1", "Too many recipients of this sender in an hour, please try again later")
    return Action.DEFER, Reason.RATE_EXCEEDED, reply


def outbound_refused(case: Case) -> Found | None:
    """Malware and attachments, whether [malware] and [attachments] say reject or quarantine; our postmaster is not who gets it."""
    if case.trust is not TrustClass.OUTBOUND:
        return None
    if found := case.reasons.get(("malware", Reason.MALWARE_FOUND)):
        return _refusal(found, "Message contains malware ({}); examine the sending computer")
    if case.allowed:
        return None
    if found := case.reasons.get(("malware", Reason.MALWARE_SUSPECTED)):
        return _refusal(found, "Message may contain malware ({})")
    held = attachment_held(case)
    if held is None:
        return None
    found = case.reasons[("attachments", held[1])]
    return _refusal(found, "Message rejected due to unacceptable attachments ({})")


def outbound_accepted(case: Case) -> Found | None:
    """The score is recorded and refuses nothing: who is behind it is our own to talk to, and a model errs."""
    return (Action.ACCEPT, Reason.OK, None) if case.trust is TrustClass.OUTBOUND else None


def _refusal(found: Evidence, text: str) -> Found:
    """What was found is named: it is told to our own user."""
    detail = printable(found.detail, 100)
    return (
        Action.REJECT,
        found.reason,
        Reply(550, "5.7.1", text.format(detail) if detail else text.replace(" ({})", "")),
    )
