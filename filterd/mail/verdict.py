"""Owns the decision about a message for one recipient, as a value.  Must not know how it was reached (engine/policy.py)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from filterd.mail.evidence import Reason, Stage
from filterd.mail.reply import Reply


class Action(StrEnum):
    """What is done with the message, mildest first."""

    ACCEPT = "accept"
    TAG = "tag"
    QUARANTINE = "quarantine"
    DEFER = "defer"
    REJECT = "reject"
    DISCONNECT = "disconnect"


@dataclass(frozen=True, slots=True)
class Summand:
    """A readable part of a contribution.

    Attributes:
        text: what stands in the message, printable.
        millis: thousandths of natural log-odds.
    """

    text: str
    millis: int

    @property
    def log_odds(self) -> float:
        """The part in natural log-odds."""
        return self.millis / 1000


@dataclass(frozen=True, slots=True)
class Contribution:
    """One summand of the score.

    Attributes:
        check: the check, `cap:` and a group for what its bound took away, or `prior`.
        text: what a person reads.
        millis: thousandths of natural log-odds; integers, so that the sum is the score to the last digit.
        clues: what it is made of, strongest first; none, or they add up to `millis`.
    """

    check: str
    text: str
    millis: int
    clues: tuple[Summand, ...] = ()

    @property
    def log_odds(self) -> float:
        """The summand in natural log-odds."""
        return self.millis / 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """A pure function of (evidence, policy).

    Attributes:
        action: what to do.
        scl: Exchange's spam confidence level, -1..9; junk is strictly above the mailbox's threshold (default 4).
        millis: the score, thousandths of natural log-odds; the sum of `contributions`.
        probability: of spam, 0..1: the logistic function of the score.
        reason: the decisive finding.
        row: the name of the policy row that decided.
        reply: what the client is told when the action is not to accept.
        contributions: summands of the score, largest first.
        unavailable: checks that could not answer.
        would: the action without observe mode (equal to `action` when not observing).
        stage: when it was decided; before DATA nothing was known of the message.
        recipient: the mailbox that it is for, as findings name it; None when it is for nobody in particular.
    """

    action: Action
    scl: int
    millis: int
    probability: float
    reason: Reason
    row: str
    reply: Reply | None
    contributions: tuple[Contribution, ...]
    unavailable: tuple[str, ...]
    would: Action
    stage: Stage = Stage.DATA
    recipient: str | None = None

    @property
    def score(self) -> float:
        """The score in natural log-odds, three decimals."""
        return self.millis / 1000
