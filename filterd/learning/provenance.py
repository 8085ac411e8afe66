"""Owns where a report comes from: what is known of it and its message, and why it must wait for a review.

Held is not refused: Exchange expands groups, so whoever has no copy that we know of may have got one all the same.
Pure; must not know where any of this is read, nor who reviews.
"""

from __future__ import annotations

from dataclasses import dataclass

from filterd.learning.trust import MIN_TRUST
from filterd.mail.address import parse_mailbox

OUTSIDER = "outsider"
UNKNOWN_MESSAGE = "unknown_message"
NOT_DELIVERED = "not_delivered"
OWN_MAIL = "own_mail"
BURST = "burst"
CONTRADICTION = "contradiction"
LOW_TRUST = "low_trust"
ALTERED = "altered"
AMBIGUOUS = "ambiguous"

# For people: in answers to reporters, in the review.
TEXTS = {
    OUTSIDER: "the reporter is no mailbox of an accepted domain",
    UNKNOWN_MESSAGE: "we have no record of what the message said",
    NOT_DELIVERED: "we know of no copy that was delivered to the reporter",
    OWN_MAIL: "the message is the reporter's own",
    BURST: "the reporter reports more than learning.reports_per_hour",
    CONTRADICTION: "others say the opposite of this message or its campaign",
    LOW_TRUST: "the reporter was wrong too often",
    ALTERED: "the message that was sent with the report is not the one that we know by its Message-ID",
    AMBIGUOUS: "the reporter got different messages with this Message-ID",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a report and of its message.

    Attributes:
        insider: the reporter is a mailbox of an accepted domain.
        recorded: what we learn from is our own record, not what came with the report.
        delivered: the reporter was a recipient with a forwarded or released copy.
        own: reverse-path or author of the message is the reporter, or the client was logged in as the reporter.
        in_hour: reports of this person in the hour before.
        contradicted: a report of somebody else that counts says the opposite.
        trust: of the reporter, 0 to 1.
        altered: what came with the report is unlike our record.
        ambiguous: nothing tells which of several unlike messages is meant: senders choose the Message-ID.
    """

    insider: bool
    recorded: bool
    delivered: bool
    own: bool
    in_hour: int
    contradicted: bool
    trust: float
    altered: bool
    ambiguous: bool = False


def reporter_key(text: str) -> str:
    """A reporter as the ledger has it: a mailbox in lower case, another name as it is."""
    mailbox = parse_mailbox(text.strip())
    return mailbox.key if mailbox else text.strip()


def is_login_of(login: str, reporter: str) -> bool:
    """Whether a login (`anna`, `DOMAIN\\anna` or a mailbox) is that of a reporter, given as the ledger has it."""
    name = login.rpartition("\\")[2].strip().lower()
    return bool(name) and name in (reporter, reporter.rpartition("@")[0].lower())


def holds(origin: Origin, reports_per_hour: int) -> tuple[str, ...]:
    """Why a report that is no administrator's waits for a review; empty when it counts at once."""
    found = {
        OUTSIDER: not origin.insider,
        UNKNOWN_MESSAGE: not origin.recorded,
        NOT_DELIVERED: origin.recorded and not origin.delivered,
        OWN_MAIL: origin.own,
        BURST: origin.in_hour >= reports_per_hour,
        CONTRADICTION: origin.contradicted,
        LOW_TRUST: origin.trust < MIN_TRUST,
        ALTERED: origin.altered,
        AMBIGUOUS: origin.ambiguous,
    }
    return tuple(name for name, held in found.items() if held)
