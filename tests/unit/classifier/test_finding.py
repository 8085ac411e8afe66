"""From how many log-odds on the content speaks."""

from __future__ import annotations

import pytest

from filterd.classifier.finding import said
from filterd.mail.evidence import Reason, Result


@pytest.mark.parametrize(
    ("log_odds", "expected"),
    [
        (2.5, (Reason.LOOKS_LIKE_SPAM, Result.FAIL, 2.5)),
        (1.0, (Reason.LOOKS_LIKE_SPAM, Result.FAIL, 1.0)),
        (0.999, (Reason.UNSURE, Result.NEUTRAL, 0.0)),
        (-0.999, (Reason.UNSURE, Result.NEUTRAL, 0.0)),
        (-1.0, (Reason.LOOKS_LIKE_HAM, Result.PASS, -1.0)),
    ],
)
def test_a_score_speaks_from_the_bound_on(log_odds: float, expected: tuple[Reason, Result, float]) -> None:
    assert said(log_odds, 1.0) == expected
