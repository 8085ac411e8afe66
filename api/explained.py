"""Owns how an explained verdict is described in the API.  Its form: filterd/engine/record.py.

Records of version 1 lack what is null by default.  Must not know where a verdict comes from.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from api.views import View


class ContributionClue(View):
    """A readable part of a contribution."""

    text: str
    """What stands in the message: a word, a header fact, a link; the last may be "rest of the message"."""
    log_odds: float


class Contribution(View):
    """One summand of the score."""

    check: str
    """The check; `cap:` and a group for what the bound of that group took away; `prior`."""
    text: str
    """What was found, for people."""
    log_odds: float
    """Natural log-odds of spam, three decimals."""
    clues: list[ContributionClue] = Field(default_factory=list)
    """What it is made of; their sum is `log_odds`. Empty where there is nothing to tell apart."""


class Missing(View):
    """Something that could not be known."""

    check: str
    text: str
    """Who did not answer, and why."""
    meaning: str
    """`judged without it`, or that the sender was told to come again."""


class NearestChange(View):
    """The smallest thing that would have led to another action; decided again, so it is true."""

    text: str
    """One line, such as `with a DKIM pass of example.com: accept`."""
    action: str
    """What would have been done; before the message itself, `accept` only means that it may come."""
    changes: list[str]
    """One change, or two that are needed together."""


class Explained(View):
    """Why a verdict is as it is."""

    model_config = ConfigDict(extra="allow")

    decided_by: str | None = None
    """The row of the policy that decided, in words."""
    contributions: list[Contribution] = Field(default_factory=list)
    """Largest first; they add up to the score, to the last digit."""
    missing: list[Missing] | None = None
    """What could not be known, and what that meant."""
    nearest_change: NearestChange | None = None
    """For accepted mail what would have made it stricter (only looked for by a scan); null when no single change or pair suffices."""


class RecipientVerdict(Explained):
    """The verdict for one recipient."""

    recipient: str
    """Empty when it was for nobody in particular."""
    action: str | None = None
    """accept, tag, quarantine, defer, reject or disconnect."""
    would: str | None = None
    """The action without observe mode."""
    stage: str | None = None
    """When it was decided: `rcpt`, before the message came, or `data`."""
    scl: int | None = None
    score: float | None = None
    """Natural log-odds of spam."""
    probability: float | None = None
    reason: str | None = None
    """The decisive finding."""
    row: str | None = None
    """The name of the row that decided."""
    reply: str | None = None
    """What the client was told, unless it was accepted."""
    unavailable: list[str] | None = None
    """Checks that could not answer."""
