"""Owns the gate: which criteria a candidate must meet to become the model, each with words and the messages that show it.

Works on scores only: what they were given by, and where the messages come from, is the caller's (api/retrain.py, tests,
benchmarks).  Must not know databases, features or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from filterd.learning.bounds import binomial_at_least, clopper_pearson
from training import streams
from training.judged import Criterion, Judged, names, number, share_of, taken_over, worst_first
from training.streams import Stream

# "Not worse" of caught spam and of log-loss means: not more than chance explains in one of twenty honest candidates.  The siblings
# know less than the candidate, and of two good models each misses what the other catches.  A false positive more is never chance.
_CHANCE = 0.05
_DEVIATIONS = 1.645  # one-sided quantile of the normal distribution for it
_LEAST_LOSS = 0.001  # nats; less is no difference that anybody would see
_FARTHEST = 700.0  # log-odds; beyond it exp() overflows and nothing changes


class Verdict(StrEnum):
    """What the gate says."""

    PASSED = "passed"
    REFUSED = "refused"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One model on the held-out messages; shares with exact 95 % limits (Clopper-Pearson).

    Attributes:
        false_positives: ham with log-odds above 0.
        caught: spam with log-odds above 0.
        log_loss: mean over all messages, in nats; 0 without messages.
    """

    ham: int
    spam: int
    false_positives: int
    caught: int
    false_positive_limits: tuple[float, float]
    caught_limits: tuple[float, float]
    log_loss: float

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "ham": self.ham,
            "spam": self.spam,
            "false_positives": self.false_positives,
            "false_positive_limits": [round(limit, 6) for limit in self.false_positive_limits],
            "caught": self.caught,
            "caught_limits": [round(limit, 6) for limit in self.caught_limits],
            "log_loss": round(self.log_loss, 6),
        }


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate found."""

    verdict: Verdict
    criteria: tuple[Criterion, ...]
    candidate: ClassFigures
    active: ClassFigures

    @property
    def stopped_by(self) -> tuple[str, ...]:
        """Names of the criteria that were not met."""
        return tuple(criterion.name for criterion in self.criteria if not criterion.passed)

    def as_dict(self) -> dict[str, Any]:
        """JSON form, for the row of the model and for people."""
        return {
            "verdict": self.verdict.value,
            "criteria": [
                {"name": c.name, "passed": c.passed, "text": c.text, "messages": list(c.messages)}
                for c in self.criteria
            ],
            "candidate": self.candidate.as_dict(),
            "active": self.active.as_dict(),
        }


def judge(
    held_out: Sequence[Judged],
    *,
    pins: Sequence[Judged] = (),
    regression: Sequence[Judged] = (),
    senders: Iterable[Stream] = (),
    campaigns: Iterable[Stream] = (),
    minimum: int = 30,
) -> GateReport:
    """Ask every criterion.

    Args:
        held_out: labelled messages that neither model has learned.
        pins: the site's confirmed good mail; the candidate's scores are those of the final model here and below.
        regression: the shipped set.
        senders: recent forwarded mail by author domain.
        campaigns: recent mail that was held or refused, by campaign.
        minimum: held-out messages of each class without which there is not enough evidence ([learning] gate_messages).
    """
    candidate = class_figures(held_out, lambda item: item.candidate)
    active = class_figures(held_out, lambda item: item.active)
    criteria = (
        _pins(pins),
        _regression(regression),
        _false_positives(held_out, candidate, active),
        _caught(held_out, candidate, active),
        _log_loss(held_out, candidate, active),
        streams.senders(senders),
        streams.campaigns(campaigns),
    )
    evidence = _evidence(candidate, minimum)
    if not all(criterion.passed for criterion in criteria):
        verdict = Verdict.REFUSED
    else:
        verdict = Verdict.PASSED if evidence.passed else Verdict.NOT_ENOUGH_EVIDENCE
    return GateReport(verdict, (*criteria, evidence), candidate, active)


def class_figures(items: Sequence[Judged], score: Callable[[Judged], float]) -> ClassFigures:
    """The figures of one model."""
    ham = [score(item) for item in items if not item.spam]
    spam = [score(item) for item in items if item.spam]
    wrong, caught = sum(value > 0 for value in ham), sum(value > 0 for value in spam)
    return ClassFigures(
        len(ham),
        len(spam),
        wrong,
        caught,
        clopper_pearson(wrong, len(ham)),
        clopper_pearson(caught, len(spam)),
        math.fsum(_loss(item.spam, score(item)) for item in items) / max(len(items), 1),
    )


def _loss(spam: bool, log_odds: float) -> float:
    """Negative log-likelihood of the class, in nats."""
    against = max(min(-log_odds if spam else log_odds, _FARTHEST), -_FARTHEST)
    return max(against, 0.0) + math.log1p(math.exp(-abs(against)))


def _turned(items: Iterable[Judged], *, spam: bool) -> list[Judged]:
    """Messages of the class that the model in use judges right and the candidate wrong, the worst first."""
    found = [item for item in items if item.spam == spam and (item.active > 0) == spam and (item.candidate > 0) != spam]
    return sorted(found, key=worst_first)


def _pins(pins: Sequence[Judged]) -> Criterion:
    turned = _turned(pins, spam=False)
    if not pins:
        text = "no confirmed good mail is pinned yet"
    elif turned:
        text = f"{number(len(turned))} of {number(len(pins))} pinned good messages would be called spam again"
    else:
        text = f"none of {number(len(pins))} pinned good messages would be called spam again"
    return Criterion("pins", not turned, text, names(turned))


def _regression(items: Sequence[Judged]) -> Criterion:
    """Neither class may lose more than chance explains against what it wins.

    Not "no message at all": a site that learns its own mail forgets some of other people's.  Of honest candidates that had a tenth of
    the log-loss of the model in use, five of eight turned one to three of these messages (docs/decisions/0015).
    """
    turned = sorted(filter(taken_over, items), key=worst_first)
    won = [item for item in items if taken_over(replace(item, active=item.candidate, candidate=item.active, root=None))]
    parts, passed = [], True
    for spam, words in ((False, "good ones would be called spam"), (True, "spam would be passed")):
        lost, gained = (sum(item.spam == spam for item in found) for found in (turned, won))
        passed = passed and _chance(lost, gained)
        if lost:
            parts.append(f"{number(lost)} {words} and {number(gained)} no longer")
    text = f"of the shipped set of {number(len(items))} messages {'; '.join(parts) or 'none is judged worse'}"
    return Criterion("regression", passed, text, names(turned))


def _chance(lost: int, gained: int) -> bool:
    """Paired and exact (McNemar): what only one of two equally good models judges right would be either's as often."""
    return lost <= gained or binomial_at_least(lost, lost + gained, 0.5) > _CHANCE


def _false_positives(items: Sequence[Judged], candidate: ClassFigures, active: ClassFigures) -> Criterion:
    passed = candidate.false_positive_limits[1] <= active.false_positive_limits[1]
    text = (
        f"{share_of(candidate.false_positives, candidate.ham)} good held-out messages called spam (at most "
        f"{candidate.false_positive_limits[1]:.1%}), by the model in use {number(active.false_positives)} (at most "
        f"{active.false_positive_limits[1]:.1%})"
    )
    return Criterion("false_positives", passed, text, () if passed else names(_turned(items, spam=False)))


def _caught(items: Sequence[Judged], candidate: ClassFigures, active: ClassFigures) -> Criterion:
    lost = _turned(items, spam=True)
    passed = _chance(len(lost), candidate.caught - active.caught + len(lost))
    text = (
        f"{share_of(candidate.caught, candidate.spam)} held-out spam caught (at least {candidate.caught_limits[0]:.1%}), by the "
        f"model in use {number(active.caught)} (at least {active.caught_limits[0]:.1%})"
    )
    return Criterion("caught", passed, text, () if passed else names(lost))


def _log_loss(items: Sequence[Judged], candidate: ClassFigures, active: ClassFigures) -> Criterion:
    """Paired: the mean difference against its standard error."""
    more = {id(item): _loss(item.spam, item.candidate) - _loss(item.spam, item.active) for item in items}
    count, mean = max(len(items), 1), candidate.log_loss - active.log_loss
    variance = math.fsum((value - mean) ** 2 for value in more.values()) / max(count - 1, 1)
    passed = mean <= max(_LEAST_LOSS, _DEVIATIONS * math.sqrt(variance / count))
    worst = sorted(items, key=lambda item: (-more[id(item)], item.message))
    text = f"log-loss {candidate.log_loss:.4f} on held-out messages, of the model in use {active.log_loss:.4f}"
    return Criterion("log_loss", passed, text, () if passed else names(worst))


def _evidence(figures: ClassFigures, minimum: int) -> Criterion:
    passed = min(figures.ham, figures.spam) >= minimum
    text = (
        f"{number(figures.ham)} good and {number(figures.spam)} spam held-out messages that neither model has learned, "
        f"{number(minimum)} of each are needed"
    )
    return Criterion("evidence", passed, text)
