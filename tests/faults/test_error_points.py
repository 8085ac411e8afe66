"""Owns the proof that an error between any two steps of the hand-over loses nothing: a sick disk, or a fault of ours.

As test_kill_points.py, but the process lives on, so that its own clean-up is what is tested.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.faults import POINTS
from tests.support.daemon import wait_until
from tests.support.handover import Kind, Scene, armed

pytestmark = [pytest.mark.slow]

NTH = 4  # the writer's points are reached twice for each message, so this is the end of the second one
# Where upstream has the message, or may have it; an error after it may make a second copy there.
WITH_UPSTREAM = ("upstream.sent", "upstream.taken", "handoff.delivered", "handoff.finished", "smtp.")
# Where the held copy is safe, or may be.
WITH_US = ("custody.committed", "handoff.finished", "smtp.")
KINDS: tuple[Kind, ...] = ("forwarded", "held", "both", "split")
BETWEEN = "handoff.next"  # only split messages pass it


@pytest.mark.parametrize("action", ["crash", "eio", "enospc"])
def test_an_error_there_loses_nothing(tmp_path: Path, action: str) -> None:
    # each at a time of its own, or the first points would hide the later ones
    points = [point for point in POINTS if (action, point) != ("enospc", "custody.committed")]  # it did fit
    times = {point: 2 if point == BETWEEN else NTH + number % 3 for number, point in enumerate(points)}
    faults = ";".join(f"{point}={action}@{nth}" for point, nth in times.items())
    with armed(tmp_path, faults) as scene:
        for round in range(16):
            _one(scene, KINDS[round % 4])
        assert set(scene.fired()) == set(points)
        assert scene.daemon.stop() == 0
        scene.check_ledger()


def _one(scene: Scene, kind: Kind) -> None:
    """One message until it is accepted, and how often it then exists."""
    before = len(scene.fired())
    sent = scene.new(kind, 350_000)
    scene.send_until_accepted(sent)
    points = scene.fired()[before:]
    # An error is told, and not shown by hanging up, unless it hits the telling.
    assert sent.answers.count("") == sum(point.startswith("smtp.answering") for point in points)
    assert all(answer[:3] in ("", "250", "451", "452") for answer in sent.answers)
    at_upstream, held = scene.copies(sent)
    tries = len(sent.answers)
    # A copy that is held failed after upstream had taken the rest: the client sends all of it again.
    late = (*WITH_UPSTREAM, "custody.", "bodies.") if kind in ("both", "split") else WITH_UPSTREAM
    assert (kind != "held") <= at_upstream <= min(tries, 1 + sum(point.startswith(late) for point in points))
    assert (kind in ("held", "both")) <= held <= min(tries, 1 + sum(point.startswith(WITH_US) for point in points))
    if kind == "split":
        wait_until(lambda: scene.copies_of_second(sent) > 0, 20, "the outbox to deliver the second copy")
        if points == [BETWEEN]:
            assert (sent.answers[0][:3], at_upstream, scene.copies_of_second(sent)) == ("250", 1, 1)
