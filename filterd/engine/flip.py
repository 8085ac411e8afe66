"""Owns the nearest change: the smallest thing that, had it been otherwise, would have led to another action.  Pure.

Nothing is guessed: every change is decided again, by the same `decide`, and what comes out is what is said.
Must not know how a change is made of findings (engine/steps.py), nor who wants to read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from filterd.engine.levels import bounds_of_levels
from filterd.engine.mailbox_rows import has_thresholds
from filterd.engine.policy import Policy, decide
from filterd.engine.score import CONTENT_PARTS, beside_authentication, bounds, is_unfamiliar
from filterd.engine.steps import ALLOW_LISTED, Items, Step, steps, without_thresholds
from filterd.engine.tables import FAILED, GROUP_OF, Group
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.verdict import Action, Verdict

STRICTNESS = (Action.ACCEPT, Action.TAG, Action.QUARANTINE, Action.DEFER, Action.REJECT, Action.DISCONNECT)
_MAX_STEPS = 12  # single changes that are decided again; real messages have five
_MAX_PAIRED = 5  # single changes that are paired, 10 pairs: those that change the deciding row or move the score most
_TENTH = 100  # thousandths: numbers that people read are given in tenths, on the safe side


@dataclass(frozen=True, slots=True)
class Change:
    """The nearest change.

    Attributes:
        steps: what would be different: one thing, or two when no single one is enough.
        action: what would be done then.
        waits: whether only the message itself would decide (`action` is to take it for now).
    """

    steps: tuple[Step, ...]
    action: Action
    waits: bool = False

    @property
    def text(self) -> str:
        """One line for people: "with a DKIM pass of example.com: accept"."""
        then = "the message itself decides" if self.waits else self.action.value
        return f"{' and '.join(step.words for step in self.steps)}: {then}"

    def applied(self, evidence: Sequence[Evidence], policy: Policy) -> tuple[list[Evidence], Policy]:
        """The evidence and policy with the change made."""
        return _applied(evidence, policy, self.steps)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form that is stored and answered."""
        return {"text": self.text, "action": self.action.value, "changes": [step.words for step in self.steps]}


def nearest_change(
    evidence: Sequence[Evidence],
    policy: Policy,
    stage: Stage = Stage.DATA,
    recipient: str | None = None,
    trust: TrustClass = TrustClass.INTERNET,
) -> Change | None:
    """The smallest change that leads to a milder action, for accepted mail to a stricter one; None when none of them does.

    Asked in this order, the first kind that has an answer gives it: one finding turned into its good result (of several the
    one that moves the score least), content weighing less, an entry on the own allow list, two changes together.  Arguments
    as for `decide`; observe mode is looked through.
    """
    return _Search(tuple(evidence), policy, stage, recipient, trust).run()


def change_for(
    verdict: Verdict, evidence: Sequence[Evidence], policy: Policy, trust: TrustClass = TrustClass.INTERNET
) -> Change | None:
    """The nearest change of a verdict that was given before, from the evidence gathered since.

    None too when that evidence does not give this verdict again: nothing is better than a sentence that is not true.
    """
    known = evidence if verdict.stage is Stage.DATA else [item for item in evidence if item.stage is not Stage.DATA]
    search = _Search(known, policy, verdict.stage, verdict.recipient, trust)
    same = (search.base.row, search.base.would, search.base.millis) == (verdict.row, verdict.would, verdict.millis)
    return search.run() if same else None


class _Search:
    """One search: the given case, and what others lead to."""

    def __init__(
        self, evidence: Sequence[Evidence], policy: Policy, stage: Stage, recipient: str | None, trust: TrustClass
    ) -> None:
        self._evidence = [replace(item, clues=()) if item.clues else item for item in evidence]  # they cost time
        self._policy, self._stage, self._recipient, self._trust = policy, stage, recipient, trust
        self._items: Items = [
            (place, item)
            for place, item in enumerate(self._evidence)
            if item.recipient in (None, recipient) and item.check not in policy.config.observe_checks
        ]
        self.base = self._decide(())

    def run(self) -> Change | None:
        if self.base.would is Action.ACCEPT:
            return None if self.base.row == "wait_for_message" else self._stricter()
        singles = self._singles()
        verdicts = [(step, self._decide((step,))) for step in singles]
        return (
            self._smallest(((step,), verdict) for step, verdict in verdicts)
            or self._first((step,) for step in self._content_less())
            or self._first([(ALLOW_LISTED,)])
            or self._smallest((pair, self._decide(pair)) for pair in self._pairs(verdicts))
            or self._first((step, ALLOW_LISTED) for step in singles)
        )

    def _singles(self) -> list[Step]:
        """Single changes, in their order; of more than _MAX_STEPS those first that take away what decided."""
        found = list(steps(self._items, self._trust))
        if len(found) > _MAX_STEPS:
            found.sort(key=lambda step: all(self._evidence[at].reason is not self.base.reason for at in step.drops))
        return found[:_MAX_STEPS]

    def _pairs(self, verdicts: Sequence[tuple[Step, Verdict]]) -> Iterator[tuple[Step, Step]]:
        base = self.base
        far = sorted(verdicts, key=lambda one: (one[1].row == base.row, one[1].millis - base.millis))
        return combinations((step for step, _ in far[:_MAX_PAIRED]), 2)

    def _stricter(self) -> Change | None:
        allowed = frozenset(place for place, item in self._items if item.reason is Reason.ALLOW_LISTED)
        unlisted = (Step("without the entry on the own allow list", allowed),) if allowed else ()
        if unlisted:
            change = self._first([unlisted], stricter=True)
            if change is not None:
                return change
        candidates = (*without_thresholds(self._items), *self._to_the_next_threshold())
        return self._first(((*unlisted, step) for step in candidates), stricter=True)

    def _decide(self, changes: Sequence[Step]) -> Verdict:
        evidence, policy = (
            _applied(self._evidence, self._policy, changes) if changes else (self._evidence, self._policy)
        )
        return decide(evidence, policy, self._stage, self._recipient, self._trust)

    def _first(self, candidates: Iterable[tuple[Step, ...]], stricter: bool = False) -> Change | None:
        before = STRICTNESS.index(self.base.would)
        for changes in candidates:
            verdict = self._decide(changes)
            after = STRICTNESS.index(verdict.would)
            if after > before if stricter else after < before:
                return Change(changes, verdict.would, verdict.row == "wait_for_message")
        return None

    def _smallest(self, decided: Iterable[tuple[tuple[Step, ...], Verdict]]) -> Change | None:
        """Of the changes to something milder the one that moves the score least; of equal ones the first."""
        before = STRICTNESS.index(self.base.would)
        milder = [(changes, verdict) for changes, verdict in decided if STRICTNESS.index(verdict.would) < before]
        best = min(milder, key=lambda one: abs(self.base.millis - one[1].millis), default=None)
        return None if best is None else Change(best[0], best[1].would, best[1].row == "wait_for_message")

    # ------------------------------------------------------------ numbers

    def _content_less(self) -> Iterator[Step]:
        """Content weighing less, nearest first: just below each threshold that the score or a part of it has passed."""
        base = self.base
        unfamiliar = is_unfamiliar([item for _, item in self._items])
        beside = round(beside_authentication(base.contributions, unfamiliar) * 1000)
        thresholds = self._thresholds()
        over = [base.millis - round(threshold * 1000) + 1 for threshold in thresholds if math.isfinite(threshold)]
        over += [beside - 1000 + 1, beside]  # what makes DMARC's or any refusal one by agreement (engine/rows.py)
        now = self._content()
        if now is not None:
            for less in sorted(amount for amount in over if amount > 0):
                yield from self._weighing(now, (now - less) // _TENTH * _TENTH)

    def _thresholds(self) -> tuple[float, ...]:
        """The scores at which something else may be done, lowest first: for a mailbox with SCL thresholds every level is one."""
        config = self._policy.config
        if any(has_thresholds(item) for _, item in self._items):
            return bounds_of_levels(config)
        return config.tag_score, config.quarantine_score, config.reject_score

    def _to_the_next_threshold(self) -> Iterator[Step]:
        """Content weighing as much as the next threshold takes; where its bound forbids that, a lower tag_score."""
        config = self._policy.config
        now = self._content()
        for threshold in self._thresholds():
            missing = round(threshold * 1000) - self.base.millis if math.isfinite(threshold) else 0
            if now is not None and missing > 0:
                yield from self._weighing(now, -(-(now + missing) // _TENTH) * _TENTH)
        lower = math.floor(self.base.millis / _TENTH) / 10
        yield Step(
            f"with tag_score {lower:.1f} instead of {config.tag_score:g}",
            config=config.model_copy(update={"tag_score": lower}),
        )

    def _content(self) -> int | None:
        """What content adds now, within its bounds, in thousandths; None when it was not judged."""
        if not any(item.check == "content" and item.reason not in FAILED for _, item in self._items):
            return None
        return sum(c.millis for c in self.base.contributions if c.check in CONTENT_PARTS)

    def _weighing(self, now: int, then: int) -> Iterator[Step]:
        """Content adding `then` thousandths instead of `now`, if its bounds allow that."""
        low, high = bounds(Group.CONTENT, self._policy.config, is_unfamiliar([item for _, item in self._items]))
        if not low <= then <= high:
            return
        found = [(place, item) for place, item in self._items if item.check == "content"]
        others = sum(
            c.millis for c in self.base.contributions if c.check != "content" and GROUP_OF.get(c.check) is Group.CONTENT
        )
        reason = Reason.LOOKS_LIKE_SPAM if then > 0 else Reason.LOOKS_LIKE_HAM
        properties = found[0][1].properties
        judged = Evidence(
            "content", Stage.DATA, Result.NEUTRAL, reason, measured=(then - others) / 1000, properties=properties
        )
        yield Step(
            f"if the content weighed {then / 1000:+.1f} instead of {now / 1000:+.3f}",
            frozenset(place for place, _ in found),
            (judged,),
        )


def _applied(evidence: Sequence[Evidence], policy: Policy, changes: Sequence[Step]) -> tuple[list[Evidence], Policy]:
    drops = frozenset[int]().union(*(step.drops for step in changes))
    changed = [item for place, item in enumerate(evidence) if place not in drops]
    for step in changes:
        changed.extend(step.adds)
        if step.config is not None:
            policy = replace(policy, config=step.config)
    return changed, policy
