"""When directories are synced: at the start, every few minutes, everything once a night; what fails is said once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import cast

import pytest

from filterd.config import Config, LdapConfig
from filterd.directory.snapshot import Header, write_snapshot
from filterd.directory.table import Builder
from filterd.directory_runner import FULL_AGAIN_SECONDS, PASSWORD_AGAIN_SECONDS, DirectoryRunner, _Table, last_hour
from filterd.directory_store import snapshot_path
from filterd.directory_sync import Outcome, Sync, SyncError


class Fake:
    """A sync that does what a function says.  `calls`: whether everything was asked for, each time."""

    def __init__(self, work: Callable[[], object] = lambda: None, notes: tuple[str, ...] = ()) -> None:
        self._work = work
        self.notes = notes
        self.calls: list[bool] = []
        self.abandoned = threading.Event()

    def __call__(self, config: Config, table: LdapConfig) -> Sync:
        return cast(Sync, self)

    def run(self, *, full: bool = False) -> Outcome:
        self.calls.append(full)
        self._work()
        return Outcome("ad", "full" if full else "incremental", "", "ldaps://dc1", 5, 5, 1, 0, None, 0, 0.1, self.notes)

    def abandon(self) -> None:
        self.abandoned.set()


def config(state: Path, **keys: object) -> Config:
    return Config.model_validate({"server": {"state_dir": state, "hostname": "filter.example.org"}, "ldap": [keys]})


def snapshot(state: Path, read: float, full: float) -> None:
    header = Header(backend="ldap", name="ad", read_ms=int(read * 1000), full_ms=int(full * 1000))
    write_snapshot(snapshot_path(state, "ad"), header, Builder().table())


def at(hour: int, minute: int = 0) -> float:
    """A moment of a day by the clock on the wall."""
    return datetime(2026, 11, 26, hour, minute).astimezone().timestamp()


def table(state: Path, now: list[float], fake: Fake, **keys: object) -> _Table:
    given = config(state, **keys)
    return _Table(given, given.ldap[0], lambda: now[0], fake)


def once(one: _Table) -> float:
    return asyncio.run(one._once(asyncio.Event()))


def test_the_last_time_the_clock_showed_an_hour() -> None:
    assert last_hour(at(10), 3) == at(3)
    assert last_hour(at(3), 3) == at(3)
    assert last_hour(at(2, 59), 3) == at(3) - 86_400


def test_everything_is_read_once_a_night(tmp_path: Path) -> None:
    now, fake = [at(2, 50)], Fake()
    one = table(tmp_path, now, fake)
    snapshot(tmp_path, at(2, 45), at(2, 45) - 3600)
    assert once(one) == 300
    now[0] = at(3, 1)
    once(one)
    snapshot(tmp_path, at(3, 1), at(3, 1))
    now[0] = at(3, 6)
    once(one)
    assert fake.calls == [False, True, False]


def test_a_night_that_fails_is_tried_again_each_hour_and_changes_are_read_meanwhile(tmp_path: Path) -> None:
    def fail() -> None:
        if fake.calls[-1]:
            raise SyncError("too many gone", "guard")

    now, fake = [at(3, 1)], Fake(fail)
    one = table(tmp_path, now, fake)
    snapshot(tmp_path, at(2, 55), at(2, 55) - 86_400)
    assert once(one) == 300
    now[0] += 60
    once(one)
    now[0] += FULL_AGAIN_SECONDS
    once(one)
    assert fake.calls == [True, False, True]


def test_a_failure_is_said_once_until_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = ["down", "down", "wrong password", "", ""]

    def work() -> None:
        text = texts.pop(0)
        if text:
            raise SyncError(text, "unreachable")

    one = table(tmp_path, [at(10)], Fake(work))
    with caplog.at_level(logging.INFO, "filterd.directory_runner"):
        for _ in range(5):
            once(one)
    said = [(record.levelname, getattr(record, "error", "")) for record in caplog.records]
    assert said == [("ERROR", "down"), ("ERROR", "wrong password"), ("WARNING", ""), ("INFO", ""), ("INFO", "")]


def test_notes_are_said_once_until_they_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake(notes=("clocks differ",))
    one = table(tmp_path, [at(10)], fake)
    with caplog.at_level(logging.WARNING, "filterd.directory_runner"):
        once(one)
        once(one)
        fake.notes = ("a gap",)
        once(one)
        fake.notes = ()
        once(one)
    assert [getattr(record, "notes", None) for record in caplog.records] == [["clocks differ"], ["a gap"]]


def test_a_fault_of_ours_does_not_end_it(tmp_path: Path) -> None:
    def crash() -> None:
        raise ZeroDivisionError

    assert once(table(tmp_path, [at(10)], Fake(crash))) == 300


def test_a_failed_sync_is_tried_again_soon_but_not_sooner_than_usual(tmp_path: Path) -> None:
    def fail() -> None:
        raise SyncError("down", "unreachable")

    assert once(table(tmp_path, [at(10)], Fake(fail), sync_minutes=30)) == 60
    assert once(table(tmp_path, [at(10)], Fake(fail), sync_minutes=1)) == 60


@pytest.mark.parametrize(("age", "pause"), [(60, 240), (300, 0), (9999, 0), (-9999, 300)])
def test_a_start_does_not_read_a_young_snapshot_anew(tmp_path: Path, age: int, pause: int) -> None:
    now = at(10)
    snapshot(tmp_path, now - age, now - age)
    assert asyncio.run(table(tmp_path, [now], Fake())._first_pause()) == pause


def test_without_a_snapshot_it_is_read_at_once_and_the_end_ends_a_sync(tmp_path: Path) -> None:
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        assert fake.abandoned.wait(20)
        raise SyncError("ended", "abandoned")

    fake = Fake(hang)

    async def scene() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(DirectoryRunner(config(tmp_path), sync=fake).run(stop))
        assert await asyncio.to_thread(begun.wait, 20)
        stop.set()
        await asyncio.wait_for(running, 20)

    asyncio.run(scene())
    assert fake.calls == [True]


def test_a_broken_snapshot_is_none(tmp_path: Path) -> None:
    path = snapshot_path(tmp_path, "ad")
    path.parent.mkdir()
    path.write_bytes(b"nonsense")
    assert asyncio.run(table(tmp_path, [at(10)], Fake())._first_pause()) == 0


def test_a_snapshot_from_the_future_does_not_put_off_the_nightly_sync(tmp_path: Path) -> None:
    """The clock was wrong for a while: until that day nobody who left would be dropped."""
    now, fake = [at(12)], Fake()
    one = table(tmp_path, now, fake)
    snapshot(tmp_path, at(12), at(12) + 86_400 * 365)
    once(one)
    assert fake.calls == [True]
    snapshot(tmp_path, at(12), at(12) + 30)  # what another clock calls now is no future
    once(_Table(config(tmp_path), config(tmp_path).ldap[0], lambda: now[0], fake))
    assert fake.calls == [True, False]


def test_a_clock_that_was_ahead_at_the_last_try_does_not_put_it_off(tmp_path: Path) -> None:
    now, fake = [at(3, 1) + 86_400 * 365], Fake()
    one = table(tmp_path, now, fake)
    snapshot(tmp_path, at(2), at(2) - 86_400)
    once(one)
    now[0] = at(3, 1)
    once(one)
    assert fake.calls == [True, True]


def test_a_wrong_password_is_not_tried_until_the_account_is_locked(tmp_path: Path) -> None:
    def fail() -> None:
        raise SyncError("wrong user or password", "password")

    snapshot(tmp_path, at(12), at(12))
    assert once(table(tmp_path, [at(12)], Fake(fail))) == PASSWORD_AGAIN_SECONDS
    assert once(table(tmp_path, [at(12)], Fake(fail), sync_minutes=60)) == 3600


def test_the_guard_waits_for_somebody_as_long_as_usual(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise SyncError("20 of 80 would be dropped", "guard")

    snapshot(tmp_path, at(12), at(12))
    assert once(table(tmp_path, [at(12)], Fake(fail))) == 300
    assert [record.message for record in caplog.records] == ["directory sync is not whole, nobody is dropped"]


def test_what_the_clock_says_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    minutes = iter(range(10, 60))

    def fail() -> None:
        raise SyncError(f"expired (our clock says 2026-11-27 00:{next(minutes)} UTC): renew it", "certificate")

    snapshot(tmp_path, at(12), at(12))
    one = table(tmp_path, [at(12)], Fake(fail))
    once(one)
    once(one)
    assert len(caplog.records) == 1
    caplog.clear()
    well = Fake()
    one = table(tmp_path, [at(12)], well)
    for minute in (10, 15):
        well.notes = (f"the directory's clock is 61 minutes behind ours (2026-11-27 00:{minute} UTC there)",)
        once(one)
    assert [record.message for record in caplog.records].count("directory sync has notes") == 1


def test_a_sync_by_hand_at_the_same_time_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise SyncError("is being written by another sync just now", "busy")

    snapshot(tmp_path, at(12), at(12))
    assert once(table(tmp_path, [at(12)], Fake(fail))) == 60
    assert not caplog.records
