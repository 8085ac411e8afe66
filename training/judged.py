"""Owns what the gate's criteria share: a message with what each model says of it, a criterion's answer, what counts as another treatment.

Must not know which criteria there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 20  # messages named with one criterion: enough to look at, few enough to read
# Log-odds up to which the content check abstains ([model] abstain_log_odds): what stays below is not called spam.  Half of that
# zone is also how far a message must have moved: every lesson moves all mail a little, and of hundreds of senders some always
# stand at the line.
ABSTAIN = 1.0


@dataclass(frozen=True, slots=True)
class Judged:
    """One message whose class is known, and what both models say of it.

    Attributes:
        message: what names it to a person: our id, or that of its report.
        candidate, active: calibrated log-odds; more than 0 leans to spam.
        root: by the model that nothing was learned from reports yet; None where it is not asked.  So that what no candidate
            does at once is not done by several after each other.
        earlier: by the model that was in use a month ago; None where it is not asked.
    """

    message: str
    spam: bool
    candidate: float
    active: float
    root: float | None = None
    earlier: float | None = None


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that was asked, and the answer.

    Attributes:
        text: one sentence for people, with the numbers.
        messages: those that show why not, or what to look at all the same; at most SHOWN.
    """

    name: str
    passed: bool
    text: str
    messages: tuple[str, ...] = ()


def taken_over(item: Judged) -> bool:
    """Whether the candidate would treat it otherwise than the model in use, and not by a hair."""
    reference = [item.active] if item.root is None else [item.active, item.root]
    if item.spam:
        return item.candidate <= ABSTAIN < item.active and max(reference) - item.candidate > ABSTAIN
    return item.active <= ABSTAIN < item.candidate and item.candidate - min(reference) > ABSTAIN


def worst_first(item: Judged) -> tuple[float, str]:
    return (item.candidate if item.spam else -item.candidate), item.message


def names(items: Iterable[Judged]) -> tuple[str, ...]:
    return tuple(item.message for item in items)[:SHOWN]


def number(value: int) -> str:
    return f"{value:,}"


def share_of(count: int, total: int) -> str:
    return f"{number(count)} of {number(total)}"
