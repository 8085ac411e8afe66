"""A training in a terminal shows how far it is, and says why there is no candidate."""

from __future__ import annotations

import io
import sys

import pytest

from filterd.commands.training import TrainingFailedError, progress_text, run_training

STEP = '{"progress": {"step": "learning", "done": 1200, "total": 20000, "rate": 3900.4, "seconds_left": 4.8}}'


def child(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_progress_is_shown_and_wiped_away() -> None:
    shown = io.StringIO()
    assert run_training(child(f"print('{STEP}'); print('{{\"position\": 4}}')"), shown) == {"position": 4}
    assert "learning 1,200 of 20,000, 3,900/s, 5 s left" in shown.getvalue()
    assert shown.getvalue().endswith("\r\x1b[K")


def test_what_it_complains_of_is_the_reason() -> None:
    with pytest.raises(TrainingFailedError, match=r"^there is no report to learn from$"):
        run_training(child("import sys; sys.exit('there is no report to learn from')"))


def test_of_a_crash_the_last_line() -> None:
    with pytest.raises(TrainingFailedError, match=r"^ValueError: no room$"):
        run_training(child("raise ValueError('no room')"))


def test_a_child_that_says_nothing() -> None:
    with pytest.raises(TrainingFailedError, match="status 3"):
        run_training(child("import sys; sys.exit(3)"))


@pytest.mark.parametrize("said", ["", "nonsense", "[1]", STEP], ids=["nothing", "words", "a list", "progress alone"])
def test_an_answer_that_is_none(said: str) -> None:
    with pytest.raises(TrainingFailedError, match="no JSON object"):
        run_training(child(f"print({said!r})"))


def test_a_step_without_an_end_in_sight() -> None:
    assert (
        progress_text({"step": "reading", "done": 7, "total": None, "rate": 0.0, "seconds_left": None}) == "reading 7"
    )
