"""Owns the tests of the fault points: what can be armed, what then happens, and that each name stands at one place."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd import faults
from filterd.errors import ConfigError

POINT = "handoff.begun"
SOURCE = Path(faults.__file__).parent


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm("")


def places() -> list[str]:
    """Every name that the product says it has reached."""
    texts = (path.read_text() for path in sorted(SOURCE.rglob("*.py")) if path.name != "faults.py")
    return [name for text in texts for name in re.findall(r"\breach\((?:\"|')([^\"']+)", text)]


def test_each_point_stands_at_one_place() -> None:
    assert sorted(places()) == sorted(faults.POINTS)


def test_nothing_happens_unless_something_is_armed() -> None:
    for name in faults.POINTS:
        faults.reach(name)


@pytest.mark.parametrize(("action", "number"), [("eio", errno.EIO), ("enospc", errno.ENOSPC)])
def test_an_armed_point_raises_each_time_and_the_others_do_not(action: str, number: int) -> None:
    faults.arm(f"{POINT}={action}")
    for _ in range(3):
        with pytest.raises(OSError, match="armed by FILTERD_FAULTS") as caught:
            faults.reach(POINT)
        assert caught.value.errno == number
    faults.reach("handoff.started")


def test_only_the_time_that_was_asked_for() -> None:
    faults.arm(f" {POINT}=crash@3 ; handoff.started=eio@1 ;")
    faults.reach(POINT)
    faults.reach(POINT)
    with pytest.raises(RuntimeError, match=POINT):
        faults.reach(POINT)
    faults.reach(POINT)
    with pytest.raises(OSError, match=r"handoff\.started"):
        faults.reach("handoff.started")


def test_threads_that_reach_a_point_together_fail_once() -> None:
    faults.arm(f"{POINT}=crash@500")
    failed: list[int] = []

    def run() -> None:
        for number in range(200):
            try:
                faults.reach(POINT)
            except RuntimeError:
                failed.append(number)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nowhere=kill", "expected a point of .*, found 'nowhere'"),
        (f"{POINT}=explode", "expected an action of kill, eio, enospc, crash, found 'explode'"),
        (POINT, "expected POINT=ACTION"),
        (f"{POINT}=kill@0", "expected POINT=ACTION"),
        (f"{POINT}=kill@x", "expected POINT=ACTION"),
        (f"{POINT}=eio;{POINT}=kill", "expected each point once"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_armed(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"FILTERD_FAULTS: {problem}"):
        faults.arm(f"handoff.started=eio;{text}")
    faults.reach("handoff.started")


def run(code: str, text: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, faults.VARIABLE: text}
    command = [sys.executable, *code.split(maxsplit=1)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_environment_arms_and_kill_is_a_real_one() -> None:
    done = run(f"-c from\tfilterd.faults\timport\treach;reach('{POINT}')", f"{POINT}=kill")
    assert done.returncode == -signal.SIGKILL


def test_a_wrong_word_in_the_environment_ends_every_command_at_once() -> None:
    done = run("-m filterd", "nowhere=kill")
    assert done.returncode == 1
    assert done.stderr.startswith("filterd: FILTERD_FAULTS: expected a point of handoff.started")
    assert "Traceback" not in done.stderr


def test_there_is_a_warning_only_when_something_is_armed(caplog: pytest.LogCaptureFixture) -> None:
    faults.warn_if_armed()
    assert caplog.records == []
    faults.arm(f"{POINT}=crash")
    faults.warn_if_armed()
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.__dict__["points"] == [POINT]


def test_the_page_tells_of_every_point() -> None:
    page = (SOURCE.parent / "docs" / "custody.md").read_text()
    assert [name for name in faults.POINTS if f"`{name}`" not in page] == []
