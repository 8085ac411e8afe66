"""Owns the report: markdown tables of figures with their limits.  Must not know how scores were made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.accuracy.ours import NAME, Noise
from benchmarks.accuracy.scores import Scores
from training.limits import Interval, limits, ratio_limits
from training.metrics import figures

GOAL = 3.0  # the best peer's area over ours, in each folder that holds both classes
NOISE_GOALS = {0.05: 1.5, 0.10: 2.5}  # figure with flipped labels over the clean figure
_HEAD = [
    "filter",
    "ham",
    "spam",
    "(1-ROCA)%",
    "95 %",
    "hm%",
    "95 %",
    "sm%",
    "95 %",
    "lam%",
    "sm@.1%",
    "sm@.01%",
    "log loss",
    "ECE",
    "ties",
]

Row = tuple[str, Scores]


def table(rows: Sequence[Row]) -> str:
    """One line per filter or folder."""
    return _markdown(_HEAD, [_line(name, found) for name, found in rows])


def _line(name: str, found: Scores) -> list[str]:
    f, near = figures(found.labels, found.scores), limits(found.labels, found.scores)
    ties = len(found.scores) - len(set(found.scores))
    return [
        name,
        str(f.ham),
        str(f.spam),
        _number(f.one_minus_roca, 4),
        _interval(near.one_minus_roca, 3),
        _number(f.hm, 2),
        _interval(near.hm, 2),
        _number(f.sm, 2),
        _interval(near.sm, 2),
        _number(f.lam, 2),
        _number(f.sm_at_hm_01, 2),
        _number(f.sm_at_hm_001, 2),
        _number(f.log_loss, 4),
        _number(f.ece, 4),
        str(ties),
    ]


def goal(rows: Mapping[str, Sequence[Row]], seed: int) -> str:
    """Per set: our area, the best peer's with its own settings and with any, and how often ours goes into the latter."""
    lines = []
    for part, found in rows.items():
        areas = {name: round(figures(one.labels, one.scores).one_minus_roca, 9) for name, one in found}
        peers = {name: area for name, area in areas.items() if name != NAME and not math.isnan(area)}
        if NAME not in areas or not peers:
            continue
        ours = areas[NAME]
        plain = _best({name: area for name, area in peers.items() if ":" not in name})
        best, least = _best(peers)
        factor = least / ours if ours else math.inf if least else 1.0
        met = "reached" if factor >= GOAL else "missed" if ours else "neither has a wrong pair"
        by_name = dict(found)
        near = ratio_limits(by_name[NAME].labels, by_name[NAME].scores, by_name[best].scores, seed)
        shown = f"{_number(plain[1], 4)} ({plain[0]})", f"{_number(least, 4)} ({best})"
        lines.append(
            [
                part,
                _number(ours, 4),
                *shown,
                _number(factor, 1),
                _interval(near, 1),
                f"{met} (≥ {GOAL:g})" if ours or least else met,
            ]
        )
    head = ["set", "ours, (1-ROCA)%", "best peer, its defaults", "best peer, any setting", "÷ ours", "95 %", "goal"]
    return _markdown(head, lines) if lines else "No peer has run."


def _best(areas: Mapping[str, float]) -> tuple[str, float]:
    name = min(areas, key=lambda one: areas[one], default="none")
    return name, areas.get(name, math.nan)


def noise(found: Mapping[str, Sequence[Noise]]) -> str:
    """Ratios of means over draws; against the same step without noise, and against the better step without noise."""
    lines = []
    for part, rows in found.items():
        best = min(row.clean for row in rows)
        for row in rows:
            mean = sum(row.draws) / len(row.draws)
            lines.append(
                [
                    part,
                    row.step,
                    f"{100 * row.rate:g} %",
                    _number(row.clean, 4),
                    _number(mean, 4),
                    _interval((min(row.draws), max(row.draws)), 4),
                    _number(mean / row.clean if row.clean else math.nan, 2),
                    _number(mean / best if best else math.nan, 2),
                    f"≤ {NOISE_GOALS[row.rate]:g}",
                ]
            )
    head = "set | step | flipped | clean (1-ROCA)% | flipped, mean | lowest – highest | ÷ clean, same step | ÷ clean, best step | goal"
    return _markdown(head.split(" | "), lines)


def settings(rows: Iterable[tuple[str, str, Scores]]) -> str:
    """What each peer was told, refused and cost, per set."""
    lines = [
        [name, part, found.run.version, found.run.settings, found.run.remark or "–", f"{found.run.seconds:.0f} s"]
        for name, part, found in rows
    ]
    return _markdown(["peer", "set", "version", "settings", "remarks", "wall time"], lines)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|" + " --- |" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else "∞" if math.isinf(value) else f"{value:.{digits}f}"


def _interval(pair: Interval, digits: int) -> str:
    return "–" if math.isnan(pair[0]) else f"{_number(pair[0], digits)} – {_number(pair[1], digits)}"
