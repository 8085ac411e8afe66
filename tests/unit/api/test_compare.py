"""Two models side by side: what they learned, how far apart they are, which messages they judge differently."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from api.compare import compare, main, moved
from filterd.classifier.features import to_octets
from filterd.config import SEED_MODEL, Config
from filterd.errors import ModelError, PermanentError
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database
from tests.support.models import damage, installed
from tests.support.sideservice import make_config
from tests.support.storage import evidence, make_database, message, outcomes


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return make_database(tmp_path)


def keep(db: Database, features: bytes) -> str:
    """A message that was forwarded, with these features."""
    record = message()

    async def run() -> None:
        custody = SqlCustody(db)
        await custody.finish(record, outcomes(record), evidence(features), None)
        custody.close()

    asyncio.run(run())
    return record.id


def test_what_differs(config: Config, db: Database) -> None:
    installed(config, db, "a", 1)
    installed(config, db, "b", 40_000)
    weights = np.fromfile(SEED_MODEL / "weights.f32", "<f4")[:40_000]
    good = np.flatnonzero(weights < -0.05)[:200]  # words of good mail; "b" has learned that they are spam
    id = keep(db, to_octets(good.astype(np.uint32)))
    found = compare(config, db, "a", "b")
    assert (found["a"]["name"], found["b"]["name"]) == ("a", "b")
    assert found["b"]["training"]["learned"] == {"ham": 0, "spam": 40_000}
    assert found["shipped"]["messages"] > 100
    recent = found["recent"]
    assert {key: recent[key] for key in ("messages", "spam_a", "spam_b", "differ")} == {
        "messages": 1,
        "spam_a": 0,
        "spam_b": 1,
        "differ": 1,
    }
    (shown,) = recent["shown"]
    assert (shown["message"], shown["fate"], shown["header_from"]) == (id, "forwarded", "<author@example.org>")
    assert shown["a"] < 0 < shown["b"]
    same = compare(config, db, "a", "a", messages=0)
    assert (same["weights"], same["shipped"]["differ"], same["recent"]["messages"]) == (
        {"changed": 0.0, "largest": 0.0, "top": 0.0},
        0,
        0,
    )


def test_how_far_weights_moved() -> None:
    a = np.zeros(10_000, np.float32)
    a[:100] = 1.0
    b = a.copy()
    b[0] += 2.0
    b[200] -= 0.5
    found = moved(a, b)
    assert found == {"changed": round(2 / 101, 6), "largest": 2.0, "top": 1.0}
    spread = moved(a, a + np.float32(0.5))
    assert (spread["changed"], spread["top"]) == (1.0, 0.001)


def test_what_cannot_be_compared(config: Config, db: Database) -> None:
    with pytest.raises(PermanentError, match="there is no model x"):
        compare(config, db, "seed", "x")
    with pytest.raises(PermanentError, match="messages: expected 0 to 5000"):
        compare(config, db, "seed", "seed", messages=5001)
    installed(config, db, "a")
    damage(config.state_dir / "models" / "a" / "weights.f32")
    with pytest.raises(ModelError, match="SHA-256"):
        compare(config, db, "seed", "a")


def test_the_command_line(tmp_path: Path, db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text(f"[server]\nstate_dir = '{tmp_path}'\n[storage]\nmin_free_bytes = 0\n")
    assert main(["--config", str(path), "--messages", "5", "--", "seed", "seed"]) == 0
    assert json.loads(capsys.readouterr().out)["a"]["name"] == "seed"
    assert main(["--config", str(path), "--", "seed", "x"]) == 1
    assert "there is no model x" in capsys.readouterr().err
