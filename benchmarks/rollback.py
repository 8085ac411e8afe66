"""Owns the simulation of the automatic rollback: how often it is wrong, and how soon it is right.

A site gets so many messages a day, of which people undo a share under the model before and `factor` times as many after the
promotion; each is another campaign, said by one of 200 people.  It is looked at whenever somebody says something, for seven days.
Run: python -m benchmarks.rollback
"""

from __future__ import annotations

import random
import statistics

from filterd.learning.rollback import MIN_SIGNALS, Signal, weigh

DAYS = 7
PEOPLE = 200


def messages_until(day: int, rate: float, factor: float, chance: random.Random) -> int | None:
    """Messages judged by the new model until it goes back; None when it does not."""
    judged_before = day * DAYS
    before = [_said(f"b{n}", chance) for n in range(judged_before) if chance.random() < rate]
    after: list[Signal] = []
    for judged in range(1, day * DAYS + 1):
        if chance.random() < rate * factor:
            after.append(_said(f"a{judged}", chance))
            if len(after) >= MIN_SIGNALS and weigh(after, before, judged, judged_before).goes_back:
                return judged
    return None


def _said(campaign: str, chance: random.Random) -> Signal:
    return Signal(campaign, campaign, f"p{chance.randrange(PEOPLE)}")


def main() -> None:
    """Print the table."""
    chance = random.Random(1)
    print(
        "| messages a day | undone before | after | went back in 7 days | after messages (median) |\n|---|---|---|---|---|"
    )
    for day in (200, 2000):
        for rate in (0.0005, 0.002):
            for factor in (1, 3, 10, 30):
                runs = 400 if factor == 1 else 100
                found = [messages_until(day, rate, factor, chance) for _ in range(runs)]
                back = [count for count in found if count is not None]
                share, middle = f"{100 * len(back) / runs:.1f} %", f"{statistics.median(back):.0f}" if back else ""
                print(f"| {day} | {100 * rate:g} % | x {factor} | {share} | {middle} |", flush=True)


if __name__ == "__main__":
    main()
