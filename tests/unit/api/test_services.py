"""The scanner follows the lists and the model; places for whole messages are few."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from api.jobs import Jobs
from api.problems import ApiError
from api.services import PARTS, SCANS, DirectoryCache, ScannerCache, Services
from filterd import modelswitch
from filterd.config import Config
from filterd.storage import lists, settings
from filterd.storage.database import Database
from tests.support.doubles import ScriptedUpstream
from tests.support.models import installed
from tests.support.sideservice import ScriptedScanner, make_config
from tests.support.storage import make_database


def test_the_scanner_is_built_again_when_lists_or_model_change(tmp_path: Path) -> None:
    database, config = make_database(tmp_path), make_config(tmp_path)
    built: list[ScriptedScanner] = []

    def build(_config: Config, _database: Database) -> ScriptedScanner:
        built.append(ScriptedScanner())
        return built[-1]

    async def story() -> None:
        cache = ScannerCache(config, database, build)
        first = await cache.get()
        assert await cache.get() is first
        lists.add(database, "192.0.2.1", "block", "", "anna")
        second = await cache.get()
        assert second is not first
        settings.set(database, "active_model", "candidate-1")
        assert await cache.get() is not second
        await asyncio.gather(*(cache.get() for _ in range(10)))
        assert len(built) == 3

    asyncio.run(story())
    database.close()


def test_the_scanner_is_built_again_when_a_damaged_model_was_repaired(tmp_path: Path) -> None:
    database, config = make_database(tmp_path), make_config(tmp_path)
    installed(config, database, "candidate-1")
    modelswitch.promote(config, database, "candidate-1", "anna")
    signature = config.state_dir / "models" / "candidate-1" / "manifest.sig"
    octets = signature.read_bytes()
    signature.unlink()

    async def story() -> None:
        cache = ScannerCache(config, database, lambda _config, _database: ScriptedScanner())
        damaged = await cache.get()
        signature.write_bytes(octets)
        repaired = await cache.get()
        assert repaired is not damaged
        assert await cache.get() is repaired

    asyncio.run(story())
    database.close()


def test_whole_messages_wait_for_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.services.PLACE_SECONDS", 0.01)
    database, config = make_database(tmp_path), make_config(tmp_path)

    async def story() -> None:
        services = Services(
            config,
            database,
            ScriptedUpstream(),
            ScannerCache(config, database, _none),
            Jobs(config, database, None),
            DirectoryCache(config),
        )
        for _ in range(SCANS):
            await services.places.acquire()
        with pytest.raises(ApiError) as refused:
            async with services.place():
                pytest.fail("there was no place")
        assert (refused.value.status_code, dict(refused.value.headers or {})) == (503, {"Retry-After": "10"})
        services.places.release()
        async with services.place():
            assert services.places.locked()
        assert not services.places.locked()
        for _ in range(PARTS):  # who pushes a list takes no place from who reports mail, nor the other way round
            await services.parts.acquire()
        with pytest.raises(ApiError, match="parts of pushed lists"):
            async with services.part():
                pytest.fail("there was no place")
        async with services.place():
            services.parts.release()
            async with services.part():
                assert services.parts.locked()

    asyncio.run(story())
    database.close()


def _none(_config: Config, _database: Database) -> Any:
    class Nobody:
        async def scan(
            self, octets: bytes, *, client_ip: str, helo: str, mail_from: str, rcpt_to: Sequence[str]
        ) -> dict[str, Any]:
            raise NotImplementedError

    return Nobody()
