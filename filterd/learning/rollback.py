"""Owns when a model goes back: whether people undo its verdicts more often than those of the model before.  Pure.

Releases from the quarantine and not-spam reports are counted once for each campaign, and an untrusted person's word for two of
them at most: one who is angry, or one account that was stolen, undoes no promotion.  The test is exact.
Must not know where signals come from, nor how a model is exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from filterd.learning.bounds import binomial_at_least

MIN_SIGNALS = 3  # with fewer nothing happens, however improbable they are
OF_ONE = 2  # signals that one untrusted person can give: three need two people
MOST_P = 0.001  # looked at again whenever a signal comes, for a week: a few dozen looks at most
# Reports that wait for a review count as signals where somebody who got the mail may well have made them; these reasons say
# otherwise: a stranger, a message made up or altered, one of several that may be meant, mail of the reporter's own making, a person
# who was wrong too often.
NOT_HEARD = frozenset({"outsider", "unknown_message", "altered", "ambiguous", "own_mail", "low_trust"})
SHOWN = 10  # messages that are named


@dataclass(frozen=True, slots=True)
class Signal:
    """Somebody says that a message was no spam.

    Attributes:
        message_id: ours.
        campaign: what it is counted as; the message's own id when it is like no other.
        person: who says it.
        trusted: an administrator.
    """

    message_id: str
    campaign: str
    person: str
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What the signals come to.

    Attributes:
        after, before: signals that count, on messages judged by the model in use and by the one before.
        judged, judged_before: messages that each of them judged, those of a campaign once.
        p: probability of as many or more after the promotion, if nothing had changed.
        messages: our ids of those that show it.
    """

    after: int
    before: int
    judged: int
    judged_before: int
    p: float
    messages: tuple[str, ...]

    @property
    def goes_back(self) -> bool:
        """Whether that is enough to go back to the model before."""
        return self.after >= MIN_SIGNALS and self.p < MOST_P

    @property
    def text(self) -> str:
        """What a person reads."""
        return (
            f"{self.after} of {self.judged} messages or campaigns were released or reported as not spam since the "
            f"promotion, {self.before} of {self.judged_before} before it (p = {self.p:.2g})"
        )

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "text": self.text,
            "after": self.after,
            "before": self.before,
            "judged": self.judged,
            "judged_before": self.judged_before,
            "p": self.p,
            "messages": list(self.messages),
        }


def counted(signals: Sequence[Signal]) -> dict[str, str]:
    """{campaign that counts: a message that shows it}: each once, of one untrusted person OF_ONE at most."""
    trusted = {signal.campaign: signal.message_id for signal in reversed(signals) if signal.trusted}
    people: dict[str, dict[str, str]] = {}
    for signal in signals:
        if signal.campaign not in trusted:
            people.setdefault(signal.campaign, {}).setdefault(signal.person.lower(), signal.message_id)
    used: dict[str, int] = {}
    found = dict(trusted)
    # Campaigns that few people speak for first: those of many still find somebody.
    for campaign, by_person in sorted(people.items(), key=lambda item: (len(item[1]), item[0])):
        person = min(by_person, key=lambda name: (used.get(name, 0), name))
        if used.get(person, 0) < OF_ONE:
            used[person] = used.get(person, 0) + 1
            found[campaign] = by_person[person]
    return found


def weigh(after: Sequence[Signal], before: Sequence[Signal], judged: int, judged_before: int) -> Finding:
    """The conditional binomial test of two rates (Przyborowski and Wilenski, 1940): of all signals, so many after.

    Without messages that the model before judged there is nothing to compare with, and p is 1.
    """
    shown = counted(after)
    many, few = len(shown), len(counted(before))
    total = judged + judged_before
    p = binomial_at_least(many, many + few, judged / total) if total else 1.0
    return Finding(many, few, judged, judged_before, p, tuple(sorted(shown.values()))[:SHOWN])


def is_heard(state: str, holds: Sequence[str]) -> bool:
    """Whether a not-spam report in that state, held for these reasons, is a signal."""
    return state == "counting" or (state == "held" and not NOT_HEARD.intersection(holds))
