"""Owns what Exchange and its administrator are told of a decision in words: SFV and CAT as Exchange Online has them.

Facts: exchange.md 1.9.  Must not know how the field is written (mail/headers.py), nor what a score is in levels (engine/levels.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from filterd.mail.evidence import Reason
from filterd.mail.verdict import Action, Verdict


class Marks(NamedTuple):
    """How one recipient's copy is marked; copies with the same marks travel together.

    Attributes:
        scl: spam confidence level.
        sfv: spam filtering verdict.
        category: what is held against it, NONE for nothing.
    """

    scl: int
    sfv: str
    category: str


# Rows that decide without the spam filter, in the words for that.
_SFV_OF_ROW: Mapping[str, str] = {
    "allow_list": "SKA",  # skipped: an allow entry of the organization
    "block_list": "SKB",  # a block entry of the organization
    "blocked_sender": "BLK",  # the recipient's own Blocked Senders
}
_CAT_OF_ROW: Mapping[str, str] = {
    "malware": "MALW",
    "malware_suspected": "MALW",
    "attachment": "FTBP",  # a file type blocked by policy
    "own_domain": "SPOOF",
    "dmarc_reject_agreed": "SPOOF",
    "dmarc_quarantine": "SPOOF",
    "impersonation": "PHSH",
}
# What a decision by the score is called after, when this weighed most.
_CAT_OF_REASON: Mapping[Reason, str] = {
    Reason.NOT_ALIGNED_REJECT: "SPOOF",
    Reason.NOT_ALIGNED_QUARANTINE: "SPOOF",
    Reason.OWN_DOMAIN: "SPOOF",
    Reason.OWN_REVERSE_PATH: "SPOOF",
    Reason.IMPERSONATED_NAME: "PHSH",
    Reason.IMPERSONATED_ADDRESS: "PHSH",
    Reason.IMPERSONATED_LOCAL_PART: "PHSH",
    Reason.LOOKALIKE_DOMAIN: "PHSH",
    Reason.LOOKALIKE_WORDS: "PHSH",
    Reason.LOOKALIKE_ENDING: "PHSH",
    Reason.REPLY_TO_ELSEWHERE: "PHSH",
    Reason.LINK_TEXT_OTHER_HOST: "PHSH",
    Reason.LINK_LOOKALIKE: "PHSH",
    Reason.LINK_USERINFO: "PHSH",
}
_SENDERS = "senders"  # the check that knows the recipient's own Safe Senders


def marks_of(verdict: Verdict) -> Marks:
    """The marks of a decision; observe mode is looked through."""
    sfv = _SFV_OF_ROW.get(verdict.row)
    if verdict.would is Action.ACCEPT:
        trusted = any(item.check == _SENDERS and item.millis < 0 for item in verdict.contributions)
        return Marks(verdict.scl, sfv or ("SFE" if trusted else "NSPM"), "NONE")
    return Marks(verdict.scl, sfv or "SPM", _category(verdict))


def _category(verdict: Verdict) -> str:
    by_row = _CAT_OF_ROW.get(verdict.row) or _CAT_OF_REASON.get(verdict.reason)
    return by_row or ("HSPM" if verdict.would in (Action.REJECT, Action.DISCONNECT) else "SPM")
