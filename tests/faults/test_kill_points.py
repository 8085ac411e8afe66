"""Owns the proof that a death between any two steps of the hand-over loses nothing and leaves one end for each message.

A real filterd is killed at each named point, its supervisor starts the next worker, and the client, which got no answer, sends
again.  What docs/custody.md says about copies that exist twice is asserted to the letter.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.faults import POINTS
from tests.support.daemon import wait_until
from tests.support.handover import Kind, armed

pytestmark = [pytest.mark.slow]

BIG = 350_000  # octets; two writes to upstream, so that the point between them is passed once
ROUNDS = 4  # messages after which every point has been reached often enough
BY_BDAT, BY_DATA = True, False

# (point, the time at which it kills, kind of message, copies at upstream, held copies, how upstream gets it).  Each
# message passes a point once, and the points of custody's writer twice: odd times are in begin, even ones in finish.
# The client gets a 250 once, so more than one copy is a duplicate; None: nobody can know whether the octets had left.
Case = tuple[str, int, Kind, int | None, int, bool]
CASES: tuple[Case, ...] = (
    ("handoff.started", 2, "forwarded", 1, 0, BY_BDAT),
    ("custody.taken", 3, "forwarded", 1, 0, BY_BDAT),
    ("custody.written", 3, "held", 0, 1, BY_BDAT),
    ("custody.committed", 3, "both", 1, 1, BY_BDAT),
    ("handoff.begun", 2, "held", 0, 1, BY_BDAT),
    ("upstream.connecting", 2, "forwarded", 1, 0, BY_BDAT),
    ("upstream.connected", 2, "both", 1, 1, BY_BDAT),
    ("upstream.mail", 2, "forwarded", 1, 0, BY_BDAT),
    ("upstream.rcpt", 2, "both", 1, 1, BY_BDAT),
    ("upstream.ready", 2, "forwarded", 1, 0, BY_BDAT),
    ("upstream.ready", 2, "forwarded", 1, 0, BY_DATA),
    ("upstream.sending", 2, "forwarded", 1, 0, BY_BDAT),
    ("upstream.sending", 2, "both", 1, 1, BY_DATA),
    ("upstream.sent", 2, "forwarded", None, 0, BY_BDAT),
    ("upstream.sent", 2, "both", None, 1, BY_DATA),
    ("upstream.taken", 2, "forwarded", 2, 0, BY_BDAT),
    ("handoff.next", 2, "split", 2, 0, BY_BDAT),
    ("upstream.mail", 4, "split", 2, 0, BY_BDAT),
    ("upstream.sending", 4, "split", 2, 0, BY_DATA),
    ("upstream.taken", 4, "split", 2, 0, BY_BDAT),
    ("handoff.delivered", 2, "both", 2, 1, BY_BDAT),
    ("bodies.written", 2, "held", 0, 1, BY_BDAT),
    ("bodies.named", 2, "both", 2, 1, BY_BDAT),
    ("custody.taken", 4, "held", 0, 1, BY_BDAT),
    ("custody.taken", 4, "both", 2, 1, BY_BDAT),
    ("custody.written", 4, "forwarded", 2, 0, BY_BDAT),
    ("custody.written", 4, "held", 0, 1, BY_BDAT),
    ("custody.committed", 4, "forwarded", 2, 0, BY_BDAT),
    ("custody.committed", 4, "held", 0, 2, BY_BDAT),
    ("handoff.finished", 2, "forwarded", 2, 0, BY_BDAT),
    ("handoff.finished", 2, "both", 2, 2, BY_BDAT),
    ("smtp.answering", 2, "forwarded", 2, 0, BY_BDAT),
    ("smtp.answering", 2, "held", 0, 2, BY_BDAT),
    ("smtp.answered", 2, "forwarded", None, 0, BY_BDAT),
)


def test_every_point_is_killed_at() -> None:
    assert {case[0] for case in CASES} == set(POINTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}{'' if case[5] else '-data'}")
def test_a_death_there_loses_nothing(tmp_path: Path, case: Case) -> None:
    point, nth, kind, at_upstream, held, chunking = case
    with armed(tmp_path, f"{point}=kill@{nth}", chunking=chunking) as scene:
        (worker,) = scene.daemon.smtp_workers()
        for _ in range(ROUNDS):
            sent = scene.new(kind, BIG if point == "upstream.sending" else 3000)
            scene.send_until_accepted(sent)
            if scene.fired():
                break
        assert scene.fired() == [point]
        # The client that was hit got no answer at all; unless this was just written.
        assert sent.answers[0] == "" or point == "smtp.answered"
        wait_until(lambda: worker not in scene.daemon.smtp_workers(), 10, "the dead worker to be gone")
        for other in scene.sent:
            expected = (1 if kind != "held" else 0, 0 if kind in ("forwarded", "split") else 1)
            copies = scene.copies(other)
            if other is sent:
                expected = (copies[0] if at_upstream is None else at_upstream, held)
                assert copies[0] <= 2
            assert copies == expected
            assert sum(copies) > 0
            if kind == "split":  # the second one has what the try that was killed had come to, and that of the next
                again = other is sent and point == "upstream.taken"
                assert scene.copies_of_second(other) == (2 if again else 1)
        if point == "handoff.finished":  # the command says what the function says
            assert scene.daemon.audit()["clean"]
        assert scene.daemon.stop() == 0
        scene.check_ledger()
