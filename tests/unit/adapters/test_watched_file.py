"""A file that is read again when it changes: what is taken over, what stays, what is said, what is waited for."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest

from filterd.adapters.watched_file import WatchedFile
from filterd.errors import ConfigError
from tests.support.directory import Steps, put


class Reader:
    """Reads text; refuses what begins with "bad"; counts."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, path: Path) -> str:
        self.reads += 1
        text = path.read_text()
        if text.startswith("bad"):
            raise ConfigError([f"{path}: bad"])
        return text


def refreshed(file: WatchedFile[str]) -> str | None:
    asyncio.run(file.refresh())
    return file.value


def test_it_is_read_at_once_and_again_only_when_it_changes(tmp_path: Path) -> None:
    put(tmp_path / "f", "one")
    reader = Reader()
    file = WatchedFile(tmp_path / "f", reader, Steps())
    assert (file.value, refreshed(file), reader.reads) == ("one", "one", 1)
    put(tmp_path / "f", "two")
    assert (refreshed(file), refreshed(file), reader.reads) == ("two", "two", 2)


def test_between_two_looks_nothing_is_looked_at(tmp_path: Path) -> None:
    put(tmp_path / "f", "one")
    file = WatchedFile(tmp_path / "f", Reader(), lambda: 0.0)
    put(tmp_path / "f", "two")
    assert refreshed(file) == "one"


def test_what_was_good_stays_and_each_problem_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "f"
    put(path, "one")
    reader = Reader()
    file = WatchedFile(path, reader, Steps())
    put(path, "bad")
    assert [refreshed(file) for _ in range(3)] == ["one"] * 3
    assert reader.reads == 2, "octets that cannot be used are not read again and again"
    assert file.problem == f"{path}: bad"
    path.unlink()
    assert [refreshed(file) for _ in range(3)] == ["one"] * 3
    assert file.problem == f"{path}: there is no such file"
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    put(path, "two")
    with caplog.at_level(logging.INFO):
        assert [refreshed(file), refreshed(file), file.problem] == ["one", "two", ""]
    assert "can be read again" in caplog.text


def test_a_file_that_comes_back_as_it_was_is_good_again(tmp_path: Path) -> None:
    put(tmp_path / "f", "one")
    file = WatchedFile(tmp_path / "f", Reader(), Steps())
    os.rename(tmp_path / "f", tmp_path / "away")
    refreshed(file)
    assert file.problem
    os.rename(tmp_path / "away", tmp_path / "f")
    assert [refreshed(file), refreshed(file), file.problem] == ["one", "one", ""]


def test_a_file_that_appears_is_taken_when_it_stays_as_it_is(tmp_path: Path) -> None:
    """`rm list; make > list`, and a list that is made for the first time while filterd runs."""
    path = tmp_path / "f"
    file = WatchedFile(path, Reader(), Steps())
    path.write_text("half")
    assert refreshed(file) is None
    path.write_text("half and the rest")
    assert [refreshed(file), refreshed(file)] == [None, "half and the rest"]
    path.unlink()
    refreshed(file)
    path.write_text("half")
    assert refreshed(file) == "half and the rest"
    path.write_text("all")
    assert [refreshed(file), refreshed(file)] == ["half and the rest", "all"]


def test_a_file_that_is_written_into_is_taken_when_nothing_was_added_between_two_looks(tmp_path: Path) -> None:
    """However long its writer rests: what he has not written yet would be nobody's address."""
    path = tmp_path / "f"
    put(path, "one")
    reader = Reader()
    file = WatchedFile(path, reader, Steps())
    for number in range(3):
        path.write_text("half" * (number + 1))
        assert refreshed(file) == "one"
    assert reader.reads == 1
    assert (refreshed(file), refreshed(file), reader.reads) == ("halfhalfhalf", "halfhalfhalf", 2)


def test_what_has_a_seal_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "f"
    file = WatchedFile(path, Reader(), Steps(), sealed=True)
    path.write_text("one")
    assert refreshed(file) == "one"
    path.write_text("two")
    assert refreshed(file) == "two"


def test_what_changes_while_it_is_read_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "f"
    grows = ["half", "half and the rest"]

    def read(of: Path) -> str:
        text = of.read_text()
        if text != "one" and grows:
            with path.open("a") as file:
                file.write(grows.pop(0))
        return text

    put(path, "one")
    file = WatchedFile(path, read, Steps())
    put(path, "half")
    assert [refreshed(file) for _ in range(5)] == ["one"] * 4 + ["halfhalfhalf and the rest"]


def test_half_a_file_is_not_taken_at_the_start_either(tmp_path: Path) -> None:
    """With half a list, known recipients would be refused; with none, they are told to come again."""
    path = tmp_path / "f"
    grows = ["and the rest"]

    def read(of: Path) -> str:
        text = of.read_text()
        if grows:
            with path.open("a") as file:
                file.write(grows.pop(0))
        return text

    put(path, "half ")
    file = WatchedFile(path, read, Steps())
    assert file.value is None
    assert "rename it" in file.problem
    assert [refreshed(file), refreshed(file), file.problem] == [None, "half and the rest", ""]


def test_a_crash_of_the_reader_ends_no_later_look(tmp_path: Path) -> None:
    put(tmp_path / "f", "one")

    def read(of: Path) -> str:
        if of.read_text() == "crash":
            raise ZeroDivisionError
        return of.read_text()

    file = WatchedFile(tmp_path / "f", read, Steps())
    put(tmp_path / "f", "crash")
    assert (refreshed(file), "fault of ours" in file.problem) == ("one", True)
    put(tmp_path / "f", "two")
    assert refreshed(file) == "two"


def test_what_was_read_serves_while_a_look_is_under_way_and_only_nothing_is_waited_for(tmp_path: Path) -> None:
    may_go_on = threading.Event()

    def slow(of: Path) -> str:
        may_go_on.wait(30)
        return of.read_text()

    async def scene() -> None:
        file = WatchedFile(tmp_path / "f", slow, Steps(), sealed=True)
        put(tmp_path / "f", "one")
        waiting = [asyncio.create_task(file.current()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # one that gives up ends nothing for the others
        may_go_on.set()
        assert [await each for each in waiting[1:]] == ["one", "one"]
        may_go_on.clear()
        put(tmp_path / "f", "two")
        assert [await file.current() for _ in range(3)] == ["one"] * 3
        may_go_on.set()
        await file.close()
        assert await file.current() == "two"

    asyncio.run(scene())
