"""Owns the sum: what each finding adds to the score, and what the bounds of the groups take away.  Weights: engine/tables.py.

Integers (thousandths of natural log-odds), so that the summands are the score to the last digit.
Must not know what a score leads to (engine/rows.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from filterd.config import PolicyConfig
from filterd.engine.tables import CAPS, GROUP_OF, WEIGHTS, Group
from filterd.engine.words import REST, finding_text
from filterd.mail.evidence import Clue, Evidence, Reason, Result, Stage
from filterd.mail.verdict import Contribution, Summand

# Summands of the content group: what is bounded together counts together as content, where a refusal needs more than that.
CONTENT_PARTS = frozenset(
    {*(name for name, group in GROUP_OF.items() if group is Group.CONTENT), "cap:content", "cap:unfamiliar"}
)
_CLIENT_PARTS = frozenset({*(name for name, group in GROUP_OF.items() if group is Group.CLIENT), "cap:client"})
_AUTH_PARTS = frozenset(
    {*(name for name, group in GROUP_OF.items() if group is Group.AUTHENTICATION), "cap:authentication"}
)
_UNFAMILIAR = "bound for mail of a kind not seen here before"
_BELOW = 0.001  # log-odds: the smallest distance that a score can have from a threshold
_MOST = 1_000_000.0  # log-odds: far beyond every threshold, and safe to count in whole thousandths


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
        millis = 0 if item.check in config.observe_checks or _is_off(item, config) else thousandths(weight)
        if millis:
            out.append(Contribution(item.check, finding_text(item), millis, parts(item.clues, millis)))
            group = GROUP_OF.get(item.check, Group.SHAPE)
            sums[group] = sums.get(group, 0) + millis
    unfamiliar = is_unfamiliar(evidence)
    for group, total in sums.items():
        low, high = bounds(group, config, unfamiliar)
        bounded = min(max(total, low), high)
        if bounded == total:
            continue
        if group is Group.CONTENT and total > high < bounds(group, config)[1]:
            out.append(Contribution("cap:unfamiliar", _UNFAMILIAR, bounded - total))
        else:
            out.append(Contribution(f"cap:{group.value}", f"bound of the {group.value} group", bounded - total))
    if config.prior:
        out.append(Contribution("prior", "before any evidence", round(config.prior * 1000)))
    return sorted(out, key=lambda c: -abs(c.millis))


def _is_off(item: Evidence, config: PolicyConfig) -> bool:
    """Whether the administrator has findings of this kind recorded, and no more."""
    return item.reason is Reason.SAFE_SENDER and not config.safe_senders


def thousandths(weight: float) -> int:
    """A weight as it is counted; what is no number weighs nothing."""
    return round(min(max(weight, -_MOST), _MOST) * 1000) if math.isfinite(weight) else 0


def bounds(group: Group, config: PolicyConfig, unfamiliar: bool = False) -> tuple[int, int]:
    """The least and most that a group may add, in thousandths of log-odds.

    Content that is `unfamiliar` can tag alone, never quarantine: wherever the administrator has put the thresholds.
    """
    low, high = CAPS.get(group, (-config.content_cap, config.content_cap))
    if group is Group.CONTENT and unfamiliar:
        below_quarantine = config.quarantine_score - config.prior - _BELOW
        high = max(0.0, min(high, config.unfamiliar_content_cap, below_quarantine))
    return round(low * 1000), round(high * 1000)


def is_unfamiliar(evidence: Sequence[Evidence]) -> bool:
    """Whether the content check has seen too little like this message to be trusted far."""
    return any(e.check == "content" and e.properties.get("familiar") == "no" for e in evidence)


def parts(clues: Sequence[Clue], millis: int) -> tuple[Summand, ...]:
    """The clues in whole thousandths that add up to `millis`: rounded by largest remainder, what they leave over is the rest."""
    known = [clue for clue in clues if abs(clue.log_odds) <= _MOST]  # what is no number is not
    if not known:
        return ()
    left = millis / 1000 - math.fsum(clue.log_odds for clue in known)
    if abs(left) >= _BELOW:
        rest = next((clue for clue in known if clue.text == REST), Clue(REST, 0.0))
        known = [*(clue for clue in known if clue is not rest), Clue(REST, rest.log_odds + left)]
    exact = [clue.log_odds * 1000 for clue in known]
    whole = [math.floor(value) for value in exact]
    each, more = divmod(millis - sum(whole), len(whole))
    by_remainder = sorted(range(len(whole)), key=lambda at: whole[at] - exact[at])
    for place, at in enumerate(by_remainder):
        whole[at] += each + (place < more)
    return tuple(Summand(clue.text, value) for clue, value in zip(known, whole, strict=True) if value)


def heaviest(evidence: Sequence[Evidence], summands: Sequence[Contribution]) -> Evidence:
    """The finding behind the largest contribution that speaks against the message; the prior and bounds have none."""
    for best in sorted(summands, key=lambda c: -c.millis):
        for item in evidence if best.millis > 0 else ():
            if item.check == best.check and finding_text(item) == best.text:
                return item
    return Evidence("none", Stage.DATA, Result.NONE, Reason.OK)


def without_content(summands: Sequence[Contribution]) -> float:
    """What others say than the message itself, in log-odds: its client, its authentication, and lists of its domains.

    Header, links, attachments and claimed names are the message's own, and the model has learned from them as well: they
    and content together are content twice, and refuse nothing.
    """
    return _sum(summands, _CLIENT_PARTS | _AUTH_PARTS | {"prior"}) + _listed(summands)


def beside_authentication(summands: Sequence[Contribution], unfamiliar: bool = False) -> float:
    """What agrees that mail which fails authentication is unwanted: RFC 9989 7.4 forbids to refuse on p=reject alone.

    Client, lists of domains and content do; not what a forwarder breaks as well (header fields), what follows from the
    failure itself (claimed names), what honest mail has too (attachments, links), or content that is `unfamiliar`.
    """
    content = _sum(summands, CONTENT_PARTS)
    return _sum(summands, _CLIENT_PARTS) + _listed(summands) + (min(content, 0.0) if unfamiliar else content)


def _sum(summands: Sequence[Contribution], names: frozenset[str]) -> float:
    return sum(item.millis for item in summands if item.check in names) / 1000


def _listed(summands: Sequence[Contribution]) -> float:
    """Lists of domains within the bound of their group, which they share with what links look like."""
    return min(_sum(summands, frozenset({"url_lists"})), CAPS[Group.LINKS][1])
