"""The watches look again and again, each for itself, until they are told to stop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from filterd.errors import StorageError
from filterd.storage.database import open_database
from filterd.watching import Watching
from tests.support.live import configuration


def test_a_watch_that_fails_does_not_keep_the_others_from_looking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configuration(tmp_path)
    database = open_database(config)
    watching = Watching(config, database)
    looks: list[str] = []
    done = threading.Event()

    def refused() -> None:
        looks.append("refused")
        raise StorageError("the disk is full")

    def broken() -> None:
        looks.append("broken")
        raise RuntimeError("a fault of ours")

    def well() -> None:
        looks.append("well")
        if len(looks) >= 6:
            done.set()

    watching._watches = {"refused": refused, "broken": broken, "well": well}

    async def scene() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(watching.run(stop, 0.001))
        assert await asyncio.to_thread(done.wait, 10)
        stop.set()
        await asyncio.wait_for(running, 5)

    asyncio.run(scene())
    assert looks[:6] == ["refused", "broken", "well"] * 2
    assert {getattr(record, "error", "") for record in caplog.records} == {"the disk is full", ""}
    assert "watching the models crashed" in caplog.text
    database.close()


def test_what_goes_on_failing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = configuration(tmp_path)
    database = open_database(config)
    watching = Watching(config, database)
    says = ["full", "full", "gone", "", "gone"]

    def look() -> None:
        if error := says.pop(0):
            raise StorageError(error)

    watching._watches = {"drift": look}
    while says:
        asyncio.run(watching.look())
    assert [getattr(record, "error", "") for record in caplog.records] == ["full", "gone", "gone"]
    database.close()


def test_a_new_site_can_be_looked_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = configuration(tmp_path)
    database = open_database(config)
    asyncio.run(Watching(config, database).look())
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    database.close()
