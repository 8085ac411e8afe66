"""The labelled mail of a running filterd is read as its ledger has it, with what is left of each message."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from filterd.classifier.features import to_octets
from filterd.config import load_config
from filterd.errors import ConfigError, PermanentError
from filterd.ports import TerminalState
from filterd.reporting import QUARANTINE, Claim, submit
from filterd.storage import reports
from filterd.storage.custody import SqlCustody
from filterd.storage.database import Database, open_database
from filterd.storage.quarantine import delete
from filterd.storage.reports import Label
from tests.support.storage import BODY, evidence, held, keep, message, outcomes
from training import work
from training.edge import at_the_edge
from training.extract import item_features, stream_features, stream_scores
from training.quarantine import read_quarantine

NEW = to_octets(np.array([5, 6, 7], np.uint32))
OLD = np.array([5, 6, 7], "<u4").tobytes()  # of version 1
RECEIVED_MS = 1_772_442_672_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "filterd.toml"
    file.write_text(f"[server]\nstate_dir = '{tmp_path}/state'\n")
    return file


@pytest.fixture
def db(config: Path) -> Iterator[Database]:
    made = open_database(load_config(config))
    yield made
    made.close()


def told(db: Database, id: str | None, label: str, reporter: str, source: str, features: bytes) -> int:
    return reports.add(db, id, label, reporter, source, features, trusted=True)


def test_reports_that_count_with_their_features(db: Database, config: Path) -> None:
    known = message(received_ms=RECEIVED_MS)
    keep(db, known)
    told(db, known.id, "phish", "anna@example.net", "api", NEW)
    unknown = told(db, None, "ham", "bert@example.net", "import", NEW)
    found = read_quarantine(config)
    assert found.position == unknown
    first, second = found.items
    assert (first.spam, first.path, first.date) == (True, f"quarantine/{known.id}", "2026-03-02T09:11:12Z")
    assert first.facts is not None
    assert (first.facts.client_ip, first.facts.mail_from) == ("192.0.2.1", "sender@example.org")
    assert (second.spam, second.path, second.folder) == (False, f"quarantine/report-{unknown}", "quarantine")
    assert item_features(first).tolist() == [5, 6, 7]
    assert [row.tolist() for row in stream_features(found.items * 150, jobs=2)] == [[5, 6, 7]] * 300


def test_features_of_another_version_are_made_again_from_the_octets(db: Database, config: Path) -> None:
    kept, gone = message(), message()
    keep(db, kept, gone)
    delete(db, gone.id, "admin")
    for record in (kept, gone):
        told(db, record.id, "spam", "anna@example.net", "api", OLD)
    found = read_quarantine(config)
    assert [item.path for item in found.items] == [f"quarantine/{kept.id}"]
    assert found.left_out == 1
    item = found.items[0]
    assert item.read() == BODY
    assert len(item_features(item)) > 20
    assert at_the_edge(item.read(), item.facts)[1].helo == "client.example.org"


def test_one_word_that_nobody_shares_is_not_enough(db: Database, config: Path) -> None:
    reports.add(db, None, "spam", "anna@example.net", "api", NEW)
    assert read_quarantine(config).items == []


def test_deleted_as_spam_and_released_as_a_false_positive(db: Database, config: Path) -> None:
    deleted, released, tidied = message(), message(), message()
    custody = SqlCustody(db)

    async def hold() -> None:
        for number, record in enumerate((deleted, released, tidied)):
            kept = evidence(to_octets(np.array([number, 9], np.uint32)))
            await custody.finish(record, outcomes(record, TerminalState.QUARANTINED), kept, held(record))

    asyncio.run(hold())
    custody.close()
    for record, label in ((deleted, Label.SPAM), (released, Label.HAM)):
        submit(load_config(config), db, Claim(label, "admin", QUARANTINE, message_id=record.id, trusted=True))
    for record in (deleted, tidied):
        delete(db, record.id, "admin")
    found = read_quarantine(config)
    assert {(item.path, item.spam) for item in found.items} == {
        (f"quarantine/{deleted.id}", True),
        (f"quarantine/{released.id}", False),
    }, "what was only tidied away says nothing"
    assert [item_features(item).tolist() for item in found.items] == [[0, 9], [1, 9]]


def test_only_up_to_a_report(db: Database, config: Path) -> None:
    first = told(db, None, "ham", "a@example.net", "import", NEW)
    told(db, None, "spam", "b@example.net", "import", to_octets(np.array([9], np.uint32)))
    assert [item.spam for item in read_quarantine(config, first).items] == [False]
    assert read_quarantine(config, first).position == first


def test_what_is_gone_meanwhile_is_said_and_left_without_features(
    db: Database, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    id = told(db, None, "ham", "a@example.net", "import", NEW)
    item = read_quarantine(config).items[0]
    reports.remove(db, id)
    assert len(item_features(item)) == 0
    assert f"report {id} is gone" in capsys.readouterr().err
    with pytest.raises(PermanentError):
        item.read()


def test_a_shipped_model_scores_features_alone(db: Database, config: Path) -> None:
    seed = Path(__file__).resolve().parents[3] / "models" / "seed"
    told(db, None, "ham", "a@example.net", "import", to_octets(np.arange(1000, dtype=np.uint32)))
    (score,) = stream_scores(read_quarantine(config).items, seed, jobs=1)
    assert score != 0


def test_other_features_are_other_mail_to_a_work_folder(db: Database, config: Path) -> None:
    def digest() -> str:
        return work.mail_digest(read_quarantine(config).items)

    told(db, None, "ham", "a@example.net", "import", NEW)
    before = digest()
    assert digest() == before
    told(db, None, "spam", "a@example.net", "import", to_octets(np.array([9], np.uint32)))
    assert digest() != before


def test_no_configuration_is_one_error(tmp_path: Path) -> None:
    with pytest.raises((ConfigError, OSError)):
        read_quarantine(tmp_path / "missing.toml")
