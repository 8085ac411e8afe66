"""Owns the gate's criteria on recent mail: no sender's mail becomes spam, no stopped campaign passes, unless enough people say so.

They stand against poison that is aimed, which no figure of held-out reports can see.  Must not know where the mail comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from training.judged import ABSTAIN, SHOWN, Criterion, Judged, number, taken_over, worst_first

# Recent messages of one sender or campaign from which the gate has an opinion.  With three, missed spam of three messages stopped
# three of six honest candidates of benchmarks/learning: too few people had got it to have four witnesses.
MIN_STREAM = 5
# Different people whose reports speak against a stream's present treatment from which the gate believes them without a
# trusted word: one more than the three of fifty that benchmarks/learning gives the attacker.
MIN_WITNESSES = 4
# Log-odds that a sender's mail may go towards spam without witnesses, unless it stays that far from the line.  In 28 honest
# candidates of benchmarks/learning no such sender's median went farther than 1.6 (2.3 and 2.6 where somebody else's was poisoned), the
# target's went 5.3 to 6.9 on the first evening of the attack, and ended below the line all the same.
FAR = 3.0
# Log-odds that are no step: else a candidate that changes nothing is refused because a model was promoted by hand that did.
_NO_STEP = 0.5


@dataclass(frozen=True, slots=True)
class Stream:
    """Recent mail of one author domain, or of one campaign, that had the same fate.

    Attributes:
        name: the domain, or the campaign's id.
        messages: with that fate as their class: forwarded is good, held and refused is spam.
        witnesses: different people who reported mail of the stream as the opposite.
        trusted: whether a trusted word did.
    """

    name: str
    messages: tuple[Judged, ...]
    witnesses: int = 0
    trusted: bool = False


def senders(streams: Iterable[Stream]) -> Criterion:
    """No sender's mail that is let through may be called spam, or go far towards it, unless enough people say that it is."""
    turned, count, excused = _turned_streams(streams, lambda item: taken_over(item) or moved_far(item))
    if not turned:
        text = f"no sender's mail that is let through today would be called spam or nearly so ({number(count)} senders"
        return Criterion("senders", True, f"{text}{_excused(excused)})")
    crossed = sum(map(taken_over, turned[0][1]))
    fate = "would be called spam"
    if crossed < len(turned[0][1]):
        fate = f"would be called spam, or go more than {FAR:.0f} log-odds towards it and end near it"
    text = f"mail of {_streams(turned, fate)}, which is let through today"
    remedy = "; if it is spam, report one of them as administrator and train again, else review who reported such mail"
    return Criterion("senders", False, text + remedy, _shown(turned))


def moved_far(item: Judged) -> bool:
    """Whether mail that is let through goes FAR towards spam and ends less than FAR from where it is called so.

    Measured from the model in use and from that of a month ago, not from the root: in a year honest reports move a sender, too,
    and such a refusal would never end.
    """
    reference = item.active if item.earlier is None else min(item.active, item.earlier)
    return (
        not item.spam
        and item.active <= ABSTAIN
        and item.candidate > ABSTAIN - FAR
        and item.candidate - reference > FAR
        and item.candidate - item.active > _NO_STEP
    )


def campaigns(streams: Iterable[Stream]) -> Criterion:
    """No campaign that is stopped may pass, unless enough people say that it is good."""
    turned, count, excused = _turned_streams(streams, taken_over)
    if not turned:
        text = f"no campaign that is stopped today would be passed ({number(count)} campaigns"
        return Criterion("campaigns", True, f"{text}{_excused(excused)})")
    text = f"of campaign {_streams(turned, 'would be passed')}, which is stopped today"
    remedy = "; if it is good mail, release one of them as false positive and train again"
    return Criterion("campaigns", False, text + remedy, _shown(turned))


def _turned_streams(
    streams: Iterable[Stream], otherwise: Callable[[Judged], bool]
) -> tuple[list[tuple[Stream, list[Judged]]], int, int]:
    """(streams of which the candidate would treat more than half `otherwise`, how many were looked at, how many were excused)."""
    turned: list[tuple[Stream, list[Judged]]] = []
    count = excused = 0
    for stream in streams:
        total = len(stream.messages)
        if total < MIN_STREAM:
            continue
        count += 1
        wrong = sorted(filter(otherwise, stream.messages), key=worst_first)
        if 2 * len(wrong) <= total:
            continue
        if stream.trusted or stream.witnesses >= MIN_WITNESSES:
            excused += 1
        else:
            turned.append((stream, wrong))
    turned.sort(key=lambda pair: (-len(pair[1]), pair[0].name))
    return turned, count, excused


def _streams(turned: Sequence[tuple[Stream, list[Judged]]], fate: str) -> str:
    first, wrong = turned[0]
    others = f" and of {number(len(turned) - 1)} more" if len(turned) > 1 else ""
    return f"{first.name} ({len(wrong)} of {len(first.messages)} recent messages {fate}){others}"


def _excused(count: int) -> str:
    return f", {number(count)} more that people reported" if count else ""


def _shown(turned: Sequence[tuple[Stream, list[Judged]]]) -> tuple[str, ...]:
    """Some of each stream: all of the first would hide the others."""
    each = max(1, SHOWN // len(turned))
    return tuple(item.message for _, wrong in turned for item in wrong[:each])[:SHOWN]
