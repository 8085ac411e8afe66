"""Owns whether today's mail is still the mail that a model was made for: its scores, its unknown features, its calibration.

The reference is made once for each model, the same figures of a day are held against it.  Both are scored from stored features,
which are those of the whole message: the daemon's score of a message whose strongest passage counted is another one.
Must not know where features or reports come from.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Log-odds between the bins of the histogram: finer where verdicts change (tag 2, quarantine 4 by default).
EDGES = (-8.0, -6.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 6.0, 8.0)
# Messages of a side below which nothing is said.  The index of equal mail is about (bins - 1)(1/n + 1/m): 0.11 with 200 of each.
MIN_MESSAGES = 200
MIN_REPORTS = 20
# Population stability index: below 0.1 is called stable, above 0.25 a major shift (Siddiqi, Credit Risk Scorecards, 2006, ch. 10).
MOST_PSI = 0.25
# Rise of the mean share of unknown features.  Mail of kinds that the seed has learned has 0.0-0.1 %, that of two folders which it has
# not 3.1 and 5.0 %; between the earlier and the later half of one folder it moved by 0.2 % at most (docs/learning.md).
MOST_UNKNOWN = 0.01
# Rise of the mean log-loss of reported messages: as if each of them had got 0.2 log-odds less for the right side.
MOST_LOSS = 0.2
_DEVIATIONS = 3.0  # standard errors that a mean must be beyond chance
SHOWN = 10  # messages that show an alarm


@dataclass(frozen=True, slots=True)
class Scored:
    """One message.

    Attributes:
        log_odds: of its content, by the model that is looked at.
        unknown: share of its features that this model has never learned anything about, 0..1.
    """

    message_id: str
    log_odds: float
    unknown: float


@dataclass(frozen=True, slots=True)
class Told:
    """One message that somebody has reported, with what it is; `log_odds` as for Scored."""

    message_id: str
    log_odds: float
    spam: bool


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that is not as it was.

    Attributes:
        kind: scores, unknown or calibration.
        text: what a person reads.
        messages: our ids of those that show it, the clearest first.
    """

    kind: str
    text: str
    messages: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"kind": self.kind, "text": self.text, "messages": list(self.messages)}


def reference(scored: Sequence[Scored], told: Sequence[Told] = ()) -> dict[str, Any]:
    """The figures that later days are held against, as JSON; a function of what is given, in any order."""
    counts = [0] * (len(EDGES) + 1)
    for item in scored:
        counts[_bin(item.log_odds)] += 1
    unknown, spread = _mean([item.unknown for item in scored])
    losses = [loss(item) for item in told]
    return {
        "messages": len(scored),
        "histogram": counts,
        "unknown": round(unknown, 6),
        "unknown_deviation": round(spread, 6),
        "reports": len(told),
        "log_loss": round(_mean(losses)[0], 6),
        "log_loss_deviation": round(_mean(losses)[1], 6),
        "expected_spam": round(math.fsum(_probability(item.log_odds) for item in told), 3),
        "spam": sum(item.spam for item in told),
    }


def figures(before: Mapping[str, Any], scored: Sequence[Scored], told: Sequence[Told] = ()) -> dict[str, Any]:
    """The day beside its reference, as JSON: {"psi", "now", "reference", "alarms"}.

    `psi` is None and alarms are missing where one side has too few messages to say anything.
    """
    now = reference(scored, told)
    enough = min(int(before.get("messages", 0)), len(scored)) >= MIN_MESSAGES
    psi = _psi(before["histogram"], now["histogram"]) if enough and _fits(before) else None
    alarms: list[Alarm] = []
    if psi is not None and psi > MOST_PSI:
        alarms.append(_scores_moved(psi, before, now, scored))
    if enough and (alarm := _less_known(before, now, scored)) is not None:
        alarms.append(alarm)
    if (alarm := _less_right(before, now, told)) is not None:
        alarms.append(alarm)
    return {
        "psi": None if psi is None else round(psi, 4),
        "now": now,
        "reference": dict(before),
        "alarms": [alarm.as_dict() for alarm in alarms],
    }


def loss(item: Told) -> float:
    """Natural log-loss of one reported message."""
    against = -item.log_odds if item.spam else item.log_odds
    return against + math.log1p(math.exp(-against)) if against > 0 else math.log1p(math.exp(against))


def _fits(before: Mapping[str, Any]) -> bool:
    """Whether a reference, maybe of another version, has our bins."""
    return len(before.get("histogram", ())) == len(EDGES) + 1


def _scores_moved(psi: float, before: Mapping[str, Any], now: Mapping[str, Any], scored: Sequence[Scored]) -> Alarm:
    was, shares = _shares(before["histogram"]), _shares(now["histogram"])
    grown = [(new - old) * math.log(new / old) if new > old else 0.0 for old, new in zip(was, shares, strict=True)]
    most = max(range(len(grown)), key=grown.__getitem__)
    low = f"{EDGES[most - 1]:g}" if most else "-\u221e"
    high = f"{EDGES[most]:g}" if most < len(EDGES) else "\u221e"
    text = (
        f"scores are distributed otherwise: stability index {psi:.2f} (more than {MOST_PSI:g} is a shift); "
        f"{100 * shares[most]:.0f} % of the mail has log-odds {low} to {high}, it was {100 * was[most]:.0f} %"
    )
    return Alarm("scores", text, tuple(item.message_id for item in scored if _bin(item.log_odds) == most)[:SHOWN])


def _less_known(before: Mapping[str, Any], now: Mapping[str, Any], scored: Sequence[Scored]) -> Alarm | None:
    was, share = float(before["unknown"]), float(now["unknown"])
    chance = _DEVIATIONS * float(before["unknown_deviation"]) / math.sqrt(len(scored))
    if share - was <= max(MOST_UNKNOWN, chance):
        return None
    strangest = sorted(scored, key=lambda item: (-item.unknown, item.message_id))[:SHOWN]
    text = f"{100 * share:.1f} % of the features are unknown to the model, it was {100 * was:.1f} %: other mail comes in, or other spam"
    return Alarm("unknown", text, tuple(item.message_id for item in strangest))


def _less_right(before: Mapping[str, Any], now: Mapping[str, Any], told: Sequence[Told]) -> Alarm | None:
    if min(int(before.get("reports", 0)), len(told)) < MIN_REPORTS:
        return None
    was, mean = float(before["log_loss"]), float(now["log_loss"])
    chance = _DEVIATIONS * float(now["log_loss_deviation"]) / math.sqrt(len(told))
    if mean - was <= max(MOST_LOSS, chance):
        return None
    worst = sorted(told, key=lambda item: (-loss(item), item.message_id))[:SHOWN]
    text = (
        f"log-loss of {len(told)} reported messages is {mean:.2f}, it was {was:.2f}: {now['expected_spam']:.0f} of them "
        f"were expected to be spam, people say {now['spam']}"
    )
    return Alarm("calibration", text, tuple(item.message_id for item in worst))


def _bin(log_odds: float) -> int:
    return bisect_right(EDGES, log_odds)


def _psi(was: Sequence[int], now: Sequence[int]) -> float:
    pairs = zip(_shares(was), _shares(now), strict=True)
    return math.fsum((new - old) * math.log(new / old) for old, new in pairs)


def _shares(counts: Sequence[int]) -> list[float]:
    """Shares with half a message more in each bin: an empty one must not make the index infinite."""
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """(mean, standard deviation); zeros for none.  The sums do not depend on the order."""
    if not values:
        return 0.0, 0.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(log_odds, -700.0), 700.0)))
