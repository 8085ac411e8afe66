"""Doctor says when pushes cannot come, do not come any more, or never came."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from filterd.adapters.site_key import path_of, site_key
from filterd.config import Config
from filterd.directory.keys import key_name
from filterd.directory.snapshot import Header, write_snapshot
from filterd.directory.table import Builder, Entry
from filterd.doctor.finding import Level
from filterd.doctor.pushed import pushed
from tests.support.sideservice import make_config


def config(folder: Path, *, enabled: bool = True, api: bool = True) -> Config:
    return make_config(folder, push={"enabled": enabled, "warn_hours": 3}, api={"enabled": api})


def put(folder: Path, hours: float, notes: tuple[str, ...] = ()) -> None:
    name = key_name(site_key(folder))
    builder = Builder()
    builder.add(Entry(bytes(16), (b"k" * 16,)))
    at_ms = int((time.time() - hours * 3600) * 1000)
    write_snapshot(
        folder / "directory" / "push.snapshot", Header("push", "", at_ms, at_ms, key=name, notes=notes), builder.table()
    )


def test_nothing_where_nobody_pushes(tmp_path: Path) -> None:
    assert pushed(config(tmp_path, enabled=False, api=False)) == []


def test_no_list_yet(tmp_path: Path) -> None:
    (found,) = pushed(config(tmp_path))
    assert (found.level, "451 4.4.3" in found.text) == (Level.FAIL, True)
    assert "docs/push.md" in found.remedy


def test_a_fresh_list(tmp_path: Path) -> None:
    put(tmp_path, 0.1)
    (found,) = pushed(config(tmp_path))
    assert (found.level, found.text) == (Level.OK, "1 addresses, 6 minutes old")


def test_an_old_list(tmp_path: Path) -> None:
    put(tmp_path, 4)
    (found,) = pushed(config(tmp_path))
    assert (found.level, found.text) == (Level.WARN, "1 addresses, 4 hours old")
    assert "Push-FilterdDirectory.ps1" in found.remedy


def test_what_the_guard_said_of_the_last_push(tmp_path: Path) -> None:
    """Such a list is fresh with each push, and yet somebody has to look."""
    put(tmp_path, 0, ("20 of 40 recipients would be dropped",))
    found = pushed(config(tmp_path))[0]
    assert found.level is Level.WARN
    assert "20 of 40 recipients would be dropped" in found.text
    assert "-AcceptDrop" in found.remedy


def test_a_damaged_list(tmp_path: Path) -> None:
    put(tmp_path, 0)
    path = tmp_path / "directory" / "push.snapshot"
    path.write_bytes(path.read_bytes()[:-1])
    (found,) = pushed(config(tmp_path))
    assert (found.level, "damaged" in found.text) == (Level.FAIL, True)


@pytest.mark.parametrize("key", ["ab" * 32 + "\n", "no key", None])
def test_a_list_under_a_key_that_is_not_there_any_more(tmp_path: Path, key: str | None) -> None:
    put(tmp_path, 0)
    path_of(tmp_path).unlink()
    if key is not None:
        path_of(tmp_path).write_text(key)
    (found,) = pushed(config(tmp_path))
    assert (found.level, "another site key" in found.text) == (Level.FAIL, True)
    assert path_of(tmp_path).exists() is (key is not None), "who looks makes none"


def test_a_list_of_the_future(tmp_path: Path) -> None:
    put(tmp_path, -3)
    (found,) = pushed(config(tmp_path))
    assert (found.level, found.text) == (Level.WARN, "1 addresses, 180 minutes from now: a clock was wrong")
    put(tmp_path, -0.01)
    (found,) = pushed(config(tmp_path))
    assert (found.level, found.text) == (Level.OK, "1 addresses, 0 minutes old")


def test_no_door_for_pushes(tmp_path: Path) -> None:
    put(tmp_path, 0)
    _, found = pushed(config(tmp_path, api=False))
    assert (found.level, "api.enabled" in found.remedy) == (Level.WARN, True)
