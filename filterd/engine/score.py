"""Owns the sum: what each finding adds to the score, and what the bounds of the groups take away.  Weights: engine/tables.py.

Integers (thousandths of natural log-odds), so that the summands are the score to the last digit.
Must not know what a score leads to (engine/rows.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from filterd.config import PolicyConfig
from filterd.engine.tables import CAPS, GROUP_OF, WEIGHTS, Group
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.verdict import Contribution

_LABELS = {Reason.LISTED: "listed by", Reason.OK: "pass", Reason.LOOKS_LIKE_HAM: "content looks like ham"}
CONTENT_PARTS = frozenset({"content", "cap:content"})
_AUTH_PARTS = frozenset({*(n for n, g in GROUP_OF.items() if g is Group.AUTHENTICATION), "cap:authentication", "prior"})


def contributions(evidence: Sequence[Evidence], config: PolicyConfig) -> list[Contribution]:
    """Every finding that weighs something, and what the bounds of the groups took away; the sum is the score."""
    out: list[Contribution] = []
    sums: dict[Group, int] = {}
    seen: set[tuple[str, Reason]] = set()
    passed = {e.check for e in evidence if e.result is Result.PASS}
    for item in evidence:
        weight = item.measured
        if weight is None:
            if (item.check, item.reason) in seen or (
                item.check == "dkim" and "dkim" in passed and item.result is not Result.PASS
            ):
                continue  # a second signature says nothing new; a broken one beside a good one says nothing
            seen.add((item.check, item.reason))
            weight = WEIGHTS.get((item.check, item.reason), 0.0)
        if item.check in config.observe_checks or not math.isfinite(weight):
            weight = 0.0
        millis = round(weight * 1000)
        if millis:
            out.append(Contribution(item.check, finding_text(item), millis))
            group = GROUP_OF.get(item.check, Group.SHAPE)
            sums[group] = sums.get(group, 0) + millis
    for group, total in sums.items():
        low, high = CAPS.get(group, (-config.content_cap, config.content_cap))
        bounded = min(max(total, round(low * 1000)), round(high * 1000))
        if bounded != total:
            out.append(Contribution(f"cap:{group.value}", f"bound of the {group.value} group", bounded - total))
    if config.prior:
        out.append(Contribution("prior", "before any evidence", round(config.prior * 1000)))
    return sorted(out, key=lambda c: -abs(c.millis))


def finding_text(item: Evidence) -> str:
    """A finding as a contribution names it."""
    what = _LABELS.get(item.reason, item.reason.value.replace("_", " "))
    return f"{what} {item.detail}".strip()


def heaviest(evidence: Sequence[Evidence], summands: Sequence[Contribution]) -> Evidence:
    """The finding behind the largest contribution."""
    best = max(summands, key=lambda c: c.millis, default=None)
    for item in evidence:
        if best is not None and item.check == best.check and finding_text(item) == best.text:
            return item
    return evidence[-1] if evidence else Evidence("none", Stage.DATA, Result.NONE, Reason.OK)


def without_content(summands: Sequence[Contribution]) -> float:
    """The score of everything but content, in log-odds."""
    return sum(c.millis for c in summands if c.check not in CONTENT_PARTS) / 1000


def beside_authentication(summands: Sequence[Contribution]) -> float:
    """What evidence other than authentication says (the prior is none): RFC 9989 7.4 forbids to refuse on p=reject alone."""
    return sum(c.millis for c in summands if c.check not in _AUTH_PARTS) / 1000
