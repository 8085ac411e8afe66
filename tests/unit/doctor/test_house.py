"""What is on this machine: each thing as it should be, and as it should not."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from filterd.config import SEED_MODEL, Config, DnsblConfig, ListenerConfig, ServerConfig, StorageConfig
from filterd.doctor import house
from filterd.doctor.finding import Level
from filterd.storage.database import open_database
from filterd.storage.schema import messages
from tests.support.models import make_model, sign


def config(folder: Path, **storage: object) -> Config:
    return Config(
        server=ServerConfig(state_dir=folder),
        storage=StorageConfig(**storage),  # type: ignore[arg-type]  # test shorthand
        dnsbl=(DnsblConfig(zone="bl.example"), DnsblConfig(zone="ok.example")),
    )


@pytest.mark.parametrize(
    ("addresses", "levels"),
    [
        ([("127.0.0.1", "internet")], [Level.WARN]),
        ([("::1", "internet"), ("10.0.0.1", "internal")], [Level.WARN]),
        ([("127.0.0.1", "internet"), ("0.0.0.0", "internet")], []),
        ([("127.0.0.1", "internal")], []),
        ([("filter", "internet")], []),
    ],
)
def test_who_is_reached_from_this_machine_only(addresses: list[tuple[str, str]], levels: list[Level]) -> None:
    listeners = [{"address": address, "trust": trust} for address, trust in addresses]
    found = house.reach(Config.model_construct(listeners=tuple(ListenerConfig(**one) for one in listeners)))  # type: ignore[arg-type]  # test shorthand
    assert [one.level for one in found] == levels


def test_state_dir(tmp_path: Path) -> None:
    assert [f.level for f in house.state_dir(config(tmp_path, min_free_bytes=0))] == [Level.OK]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    (found,) = house.state_dir(config(tmp_path, min_free_bytes=2**60))
    assert (found.level, "452" in found.remedy) == (Level.FAIL, True)
    stat = os.statvfs(tmp_path)
    (found,) = house.state_dir(config(tmp_path, min_free_bytes=int(stat.f_bavail * stat.f_frsize * 0.75)))
    assert found.level is Level.WARN
    (found,) = house.state_dir(config(tmp_path / "missing"))
    assert found.level is Level.WARN
    assert not (tmp_path / "missing").exists()


def test_state_dir_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    (found,) = house.state_dir(config(tmp_path))
    assert (found.level, "as the user of the service" in found.remedy) == (Level.WARN, True)


def test_a_database_is_looked_at_and_not_made(tmp_path: Path) -> None:
    (found,) = house.database(config(tmp_path))
    assert found.level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_good_database(tmp_path: Path) -> None:
    open_database(config(tmp_path)).close()
    found = house.database(config(tmp_path))
    assert [(f.level, f.what) for f in found] == [(Level.OK, "database"), (Level.OK, "clock")]


@pytest.mark.parametrize(("schema", "level"), [("0000", Level.WARN), ("9999", Level.FAIL)])
def test_another_schema(tmp_path: Path, schema: str, level: Level) -> None:
    database = open_database(config(tmp_path))
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{schema}'")
    database.close()
    (found,) = house.database(config(tmp_path))
    assert (found.level, schema in found.text) == (level, True)
    with sqlite3.connect(tmp_path / "filterd.db") as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == (schema,), "nothing was upgraded"


def test_a_ledger_from_the_future(tmp_path: Path) -> None:
    database = open_database(config(tmp_path))
    texts = dict.fromkeys(("worker", "listener", "client_ip", "helo", "mail_from", "header_from", "subject"), "")
    row = {
        **texts, "id": "x", "received_ms": int(time.time() * 1000) + 3_600_000, "recipients": "[]", "size": 0,
        "message_id": "", "closed": True,
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(messages.insert(), row)
    database.close()
    found = house.database(config(tmp_path))[-1]
    assert (found.level, found.what) == (Level.FAIL, "clock")
    assert "60 minutes from now" in found.text


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/db", "oracle://host/db"])
def test_a_url_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    (found,) = house.database(config(tmp_path, url=url))
    assert (found.level, "storage.url" in found.remedy) == (Level.FAIL, True)


def test_a_url_with_a_mistake_shows_no_password(tmp_path: Path) -> None:
    (found,) = house.database(config(tmp_path, url="postgresql://filterd:geheim@host:port/db"))
    assert found.level is Level.FAIL
    assert "geheim" not in found.text + found.remedy


def test_a_broken_database(tmp_path: Path) -> None:
    (tmp_path / "filterd.db").write_bytes(b"no database at all" * 100)
    (found,) = house.database(config(tmp_path))
    assert found.level is Level.FAIL


def test_model(tmp_path: Path) -> None:
    (found,) = house.model(config(tmp_path), SEED_MODEL)
    assert found.level is Level.OK
    (found,) = house.model(config(tmp_path), tmp_path)
    assert found.level is Level.FAIL


def test_a_model_that_is_not_signed_and_who_can_read_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "one"
    make_model(folder)
    (found,) = house.model(config(tmp_path), folder)
    assert (found.level, "is not signed" in found.text) == (Level.FAIL, True)
    sign(tmp_path, folder)
    assert [f.level for f in house.model(config(tmp_path), folder)] == [Level.OK, Level.OK]
    private = tmp_path / "keys" / "model.pem"
    private.chmod(0o644)
    _, key = house.model(config(tmp_path), folder)
    assert (key.level, "chmod 600" in key.remedy) == (Level.WARN, True)
    private.unlink()
    found, key = house.model(config(tmp_path), folder)
    assert (found.level, key.level) == (Level.OK, Level.WARN), "the public one is enough to load, not to sign"
    assert key.text == f"{private} is gone"
    assert "restore it" in key.remedy
    private.write_text("nonsense")
    private.chmod(0o600)
    assert [f.level for f in house.model(config(tmp_path), folder)] == [Level.OK, Level.FAIL]
    private.unlink()
    sign(tmp_path / "elsewhere", folder)
    (tmp_path / "elsewhere" / "keys" / "model.pem").rename(private)
    broken, key = house.model(config(tmp_path), folder)
    assert (broken.level, key.level) == (Level.FAIL, Level.FAIL)
    assert "neither this site's key" in broken.text
    assert "`filterd models key`" in key.remedy


def test_workers_say_which_list_they_have_suspended(tmp_path: Path) -> None:
    (found,) = house.workers(config(tmp_path))
    assert found.level is Level.OK
    folder = tmp_path / "run" / "metrics"
    folder.mkdir(parents=True)
    for slot, value in (("smtp-0", 0), ("smtp-1", 1)):  # as two workers write
        code = (
            "from filterd import metrics\n"
            f"metrics.DNSBL_SUSPENDED.labels('bl.example').set({value})\n"
            "metrics.DNSBL_SUSPENDED.labels('ok.example').set(0)\n"
            "metrics.DNSBL_SUSPENDED.labels('no.longer.configured').set(1)\n"
            "metrics.MODEL_LOADED.set(1)\n"
        )
        environment = {**os.environ, "FILTERD_METRICS_DIR": str(folder), "FILTERD_SLOT": slot}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    (found,) = house.workers(config(tmp_path))
    assert (found.level, found.what) == (Level.WARN, "workers, bl.example")
