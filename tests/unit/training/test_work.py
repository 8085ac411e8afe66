"""What a run has done survives it, whole or not at all, and serves only the same mail under the same program."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from filterd.classifier.features import BUCKETS
from tests.unit.training.samples import write_collection
from training import work
from training.estimator import Learner
from training.extract import FeatureStore
from training.readers import CorpusError, Item, read_index
from training.work import Work


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "CHUNK", 8)


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    return read_index(write_collection(tmp_path / "mail", 20), tmp_path / "mail")


def rows(store: FeatureStore) -> list[list[int]]:
    return [row.tolist() for row in store]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def worked(items: list[Item], folder: Path) -> tuple[list[list[int]], list[bytes], str]:
    with Work(folder, items) as kept:
        store = FeatureStore.of(items, 1, kept=kept)
        return rows(store), store.contents, kept.notice


def test_taken_up_without_decoding_again(items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = FeatureStore.of(items, 1)
    first = worked(items, tmp_path / "work")
    assert first == (rows(plain), plain.contents, "")
    monkeypatch.setattr("training.extract._item_row", None)
    assert worked(items, tmp_path / "work") == first


@pytest.mark.parametrize("name", ["features.u4", "rows.bin", "chunks.tsv"])
@pytest.mark.parametrize("harm", ["cut", "longer", "flipped", "nonsense", "giant", "negative"])
def test_damage_is_noticed_and_mended(items: list[Item], tmp_path: Path, name: str, harm: str) -> None:
    folder = tmp_path / "work"
    whole = worked(items, folder)
    before = files(folder)
    octets = before[name]
    half = len(octets) // 2
    (folder / name).write_bytes(
        {
            "cut": octets[:-3],
            "longer": octets + b"1\t",
            "flipped": octets[:half] + bytes([octets[half] ^ 1]) + octets[half + 1 :],
            "nonsense": b"\xff\t-1\t\n" * 9,
            "giant": b"999999999999999\t999999999999999\tx\n" + octets,
            "negative": b"-1\t-1\tx\n" + octets,
        }[harm]
    )
    got = worked(items, folder)
    assert got[:2] == whole[:2]
    assert "decoded again" in got[2]
    assert files(folder) == before, "as if nothing had been"


def test_death_at_any_moment(items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place at which something becomes durable, before it is and after."""

    class Death(BaseException):
        pass

    whole = worked(items, tmp_path / "whole")
    real = work.sync
    moment = 0
    while True:
        moment += 1
        folder = tmp_path / f"work-{moment}"
        left = moment

        def dying(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Death
            real(descriptor)

        monkeypatch.setattr(work, "sync", dying)
        try:
            worked(items, folder)
            break
        except Death:
            monkeypatch.setattr(work, "sync", real)
        assert worked(items, folder)[:2] == whole[:2]
        assert files(folder).keys() >= files(tmp_path / "whole").keys()
    assert moment > 10


def test_a_disk_that_fills_up_takes_a_part_only() -> None:
    class Nearly(io.BytesIO):
        def write(self, octets: object) -> int:
            return super().write(bytes(octets)[:3])  # type: ignore[call-overload]

    file = Nearly()
    work.write_all(file, b"0123456789")
    assert file.getvalue() == b"0123456789"


def test_only_one_run_at_a_time(items: list[Item], tmp_path: Path) -> None:
    kept = Work(tmp_path / "work", items)
    with pytest.raises(CorpusError, match="another run works in it"):
        Work(tmp_path / "work", items)
    kept.close()
    Work(tmp_path / "work", items).close()


def test_other_mail_is_refused(items: list[Item], tmp_path: Path) -> None:
    worked(items, tmp_path / "work")
    changed = [Item(not items[0].spam, items[0].path, items[0].file, items[0].date), *items[1:]]
    for other in (items[1:], items[::-1], changed):
        with pytest.raises(CorpusError, match="begun with other mail"):
            Work(tmp_path / "work", other)
    items[3].file.write_bytes(b"Subject: other\n\n")
    with pytest.raises(CorpusError, match="begun with other mail \\(20 messages, now 20\\)"):
        Work(tmp_path / "work", items)


def test_another_version_is_refused(items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worked(items, tmp_path / "work")
    monkeypatch.setattr(work, "program_digest", lambda: "other")
    with pytest.raises(CorpusError, match="another version of this program"):
        Work(tmp_path / "work", items)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mail": 1}', "[" * 100_000])
def test_a_job_that_nobody_wrote_is_refused(items: list[Item], tmp_path: Path, text: str) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "job.json").write_text(text)
    with pytest.raises(CorpusError, match=r"job\.json"):
        Work(tmp_path / "work", items)


def test_somebody_elses_folder_is_left_alone(items: list[Item], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no work folder"):
        Work(tmp_path / "mail", items)
    assert not (tmp_path / "mail" / "job.json").exists()


def test_the_job_says_what_it_is_of(items: list[Item], tmp_path: Path) -> None:
    worked(items, tmp_path / "work")
    job = json.loads((tmp_path / "work" / "job.json").read_text())
    assert job["messages"] == 20
    assert job["program"] == work.program_digest()


def test_checkpoint_comes_back_bit_for_bit_or_not_at_all(items: list[Item], tmp_path: Path) -> None:
    kept = Work(tmp_path / "work", items)
    place = kept.checkpoint("final")
    assert place.load() is None
    chance = np.random.default_rng(1)
    learner = Learner(*(chance.normal(size=BUCKETS).astype(np.float32) for _ in range(2)))
    place.save(3, learner)
    loaded = place.load()
    assert loaded is not None
    assert loaded[0] == 3
    assert loaded[1].weights.tobytes() == learner.weights.tobytes()
    assert loaded[1].information.tobytes() == learner.information.tobytes()
    file = tmp_path / "work" / "final.learner"
    octets = file.read_bytes()
    for damaged in (octets[:-1], b"", octets[:50] + bytes([octets[50] ^ 1]) + octets[51:]):
        file.write_bytes(damaged)
        assert place.load() is None
    kept.close()
