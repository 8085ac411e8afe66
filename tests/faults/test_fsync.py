"""Owns the proof that a disk that does not sync takes no held message, and loses and doubles no forwarded one.

A real filterd, whose fsync and fdatasync fail with EIO for a while.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import wait_until
from tests.support.handover import Scene, Sent, armed
from tests.support.sickdisk import SickDisk

pytestmark = [pytest.mark.slow]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SickDisk]:
    """A disk that every filterd of this test has."""
    made = SickDisk(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.recover()


@pytest.fixture(params=[0, 1_048_576], ids=["files", "rows"])
def scene(tmp_path: Path, disk: SickDisk, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Bodies are files, or rows."""
    with armed(tmp_path, "", inline_bytes=request.param) as made:
        yield made


def integrity(scene: Scene) -> str:
    """What SQLite says about the database, looked at from outside."""
    with sqlite3.connect(f"file:{scene.daemon.folder / 'state' / 'filterd.db'}?mode=ro", uri=True) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def exactly_once(scene: Scene) -> None:
    """Every message exists where it should, once; a refused one of both kinds twice at upstream, which had taken it."""
    for sent in scene.sent:
        tries = len(sent.answers)
        at_upstream = {"held": 0, "forwarded": 1, "both": tries}[sent.kind]
        assert scene.copies(sent) == (at_upstream, sent.kind != "forwarded"), (sent.kind, sent.answers)


def test_a_held_message_is_no_250_until_the_disk_is_well(disk: SickDisk, scene: Scene) -> None:
    for kind in ("held", "forwarded", "both"):
        scene.send_until_accepted(scene.new(kind))
    disk.fall_sick()
    held, forwarded, both = scene.new("held"), scene.new("forwarded"), scene.new("both")
    for _ in range(2):
        assert scene.try_once(held).startswith("451 4.3.0 ")
    assert scene.try_once(both).startswith("451 4.3.0 ")
    assert scene.try_once(forwarded).startswith("250 ")
    assert scene.copies(held) == (0, 0)
    assert '"storage failed"' in scene.daemon.log_text()
    disk.recover()
    scene.send_until_accepted(held)
    scene.send_until_accepted(both)
    assert len(held.answers) == 3  # the first try on a disk that is well succeeds: the broken connection was dropped
    assert len(both.answers) == 2
    exactly_once(scene)
    # Ends of tries that failed come a little later, by themselves.
    wait_until(lambda: scene.daemon.audit()["counts"]["open messages"] == 0, 30, "the ledger to catch up")
    assert integrity(scene) == "ok"
    assert scene.daemon.stop() == 0
    scene.check_ledger()


def test_forwarded_mail_that_shares_a_commit_with_held_mail_is_answered_once(disk: SickDisk, scene: Scene) -> None:
    scene.send_until_accepted(scene.new("held"))
    disk.fall_sick()
    sent = [scene.new(kind) for _ in range(10) for kind in ("forwarded", "held")]
    together(scene, sent)
    assert all(one.answers[-1].startswith(("451", "250")) for one in sent)
    assert not any(one.accepted for one in sent if one.kind == "held")
    disk.recover()
    for one in sent:
        scene.send_until_accepted(one)
    exactly_once(scene)
    assert scene.daemon.stop() == 0
    assert integrity(scene) == "ok"
    scene.check_ledger()


@pytest.mark.parametrize("inline_bytes", [0, 1_048_576], ids=["files", "rows"])
def test_a_commit_that_failed_and_comes_to_life_after_a_crash_has_its_body(
    tmp_path: Path, disk: SickDisk, inline_bytes: int
) -> None:
    """A second after a failure its end is written again, on the place of what was not synced; on a busy machine that may be
    before the kill.  Then nothing comes to life, which is as good, and the case that this is about needs another try.
    """
    for number in range(6):
        with armed(tmp_path / f"try-{number}", "", inline_bytes=inline_bytes) as scene:
            if came_to_life(disk, scene):
                return
    raise AssertionError("nothing came to life in six tries")


def came_to_life(disk: SickDisk, scene: Scene) -> bool:
    """Held messages whose sync fails, then a crash: whether the last one is there all the same.  Nothing is lost either way."""
    first = scene.new("held")
    scene.send_until_accepted(first)
    # From here on somebody has the database open: whoever opens it alone reads the log anew, with what was written and not synced.
    assert scene.copies(first) == (0, 1)
    disk.fall_sick(database_only=True)
    held = [scene.new("held") for _ in range(3)]
    assert all(scene.try_once(one).startswith("451") for one in held)
    copies = [scene.copies(one) for one in held]
    assert copies == [(0, 0)] * 3
    scene.database.close()
    scene.daemon.kill()  # nobody has it open any more: SQLite reads its log anew, with what was written and not synced
    disk.recover()
    scene.daemon.start()
    for one in held:
        scene.send_until_accepted(one)
    *others, last = [scene.copies(one) for one in held]
    assert others == [(0, 1), (0, 1)]
    # The last one that was told 451 may be there all the same: what SQLite wrote before the fsync is whole.
    assert last in ((0, 1), (0, 2))
    assert integrity(scene) == "ok"
    assert scene.daemon.stop() == 0
    scene.check_ledger()
    return last == (0, 2)


def together(scene: Scene, sent: list[Sent]) -> None:
    """One try of each, all at the same time."""
    threads = [threading.Thread(target=scene.try_once, args=(one,)) for one in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
