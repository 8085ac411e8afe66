"""The seed command reproduces itself, from the permitted folders only, and works on real mail."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from filterd.classifier.model import Model
from tests.support.material import corpus_archive
from tests.unit.training.samples import write_collection
from training.evaluate import online
from training.metrics import figures
from training.readers import CorpusError, read_index
from training.seed import FOLDERS, make_seed


def test_reproducible_and_blind_to_other_folders(tmp_path: Path) -> None:
    for name, extra in (("a", "csdmc2010"), ("b", "phishing_pot")):
        write_collection(tmp_path / name, 120, folders=(*FOLDERS, extra))
    first, _ = make_seed(tmp_path / "a", tmp_path / "model-a", 1)
    second, _ = make_seed(tmp_path / "b", tmp_path / "model-b", 1)
    assert first == second
    assert set(first.training["folders"]) == set(FOLDERS)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    write_collection(tmp_path, 10, folders=("vger",))
    with pytest.raises(CorpusError, match="spamassassin, lists, foff"):
        make_seed(tmp_path, tmp_path / "model", 1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vger and csdmc2010 folders of the corpus; their sum is small enough to unpack for a test."""
    folder = tmp_path_factory.mktemp("corpus")
    with tarfile.open(corpus_archive()) as archive:  # extractall's filter is not in Debian 12's Python 3.11.2
        for member in archive:
            parts = Path(member.name).parts
            file = archive.extractfile(member)
            if (
                file is None
                or ".." in parts
                or parts[1:2] not in (("vger",), ("index.tsv",), ("envelope.tsv",), ("csdmc2010",))
            ):
                continue
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read())
    return folder / "dev-corpus"


@pytest.mark.corpus
def test_online_learning_on_real_mail(corpus: Path) -> None:
    items = [item for item in read_index(corpus / "index.tsv", corpus) if item.folder == "vger"][:800]
    scored = list(online(items, 2))
    found = figures([item.spam for item, _ in scored], [score for _, score in scored])
    assert found.one_minus_roca < 0.2
    assert found.hm < 1.0


@pytest.mark.corpus
def test_shipped_seed_on_mail_it_has_never_seen(corpus: Path) -> None:
    from training.extract import item_features

    model = Model.load(Path(__file__).resolve().parents[3] / "models" / "seed")
    items = [item for item in read_index(corpus / "index.tsv", corpus) if item.folder == "csdmc2010"][::4]
    found = figures(
        [item.spam for item in items], [model.calibrated(model.score(item_features(item))) for item in items]
    )
    assert found.one_minus_roca < 0.1
    assert found.hm < 0.5
    assert found.sm < 30
