"""Owns how tests ask whether work grows no faster than its input: CPU time of both sizes side by side, as a ratio."""

from __future__ import annotations

import time
from collections.abc import Callable

ATTEMPTS = 6  # the machine is shared: work that is linear shows it in one of them, work that is not in none


def assert_growth(prepare: Callable[[int], Callable[[], object]], small: int, large: int, factor: float) -> None:
    """`prepare(size)` gives the work; that of `large` may cost at most `factor` times that of `small`."""
    ratios = []
    for _ in range(ATTEMPTS):
        less, more = prepare(small), prepare(large)
        costs = [(_cost(less), _cost(more)) for _ in range(3)]
        few, many = (max(min(each), 1e-5) for each in zip(*costs, strict=True))
        ratios.append(many / few)
        if ratios[-1] <= factor:
            return
    raise AssertionError(
        f"{large / small:g} times the input costs {min(ratios):.1f} times the time, in each of {ratios}"
    )


def _cost(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
