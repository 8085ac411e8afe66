"""A candidate learns the whole ledger from where nothing was learned yet, the gate judges it, an unlearned report leaves no trace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.gate_mail import Scores
from api.retrain import installed, main, root_of, train
from filterd import modelstore, modelswitch
from filterd.adapters import model_key
from filterd.classifier.manifest import read_manifest
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL, Config, load_config
from filterd.errors import ModelError
from filterd.reporting import Claim, submit
from filterd.storage import models, reports, settings
from filterd.storage.database import Database, open_database
from filterd.storage.models import ModelState
from tests.support.learning import NOW, came, features, tell
from training.streams import Stream

GOOD, BAD, TARGET = 10, 11, 12  # kinds of mail
HOUR = 3_600_000


@dataclass
class Site:
    config: Config
    db: Database
    path: Path

    def train(self, name: str = "candidate-1", now_ms: int = NOW + HOUR) -> dict[str, Any]:
        return train(self.config, self.db, self.folder(name), now_ms=now_ms)

    def folder(self, name: str) -> Path:
        return self.config.state_dir / "models" / name

    def promote(self, name: str, found: dict[str, Any]) -> None:
        modelstore.install(self.config, self.db, name, position=found["position"], gate=found["gate"], actor="anna")
        modelswitch.promote(self.config, self.db, name, "anna", force=True, reason="test")


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    made: list[Database] = []

    def make(name: str) -> Site:
        folder = tmp_path / name
        folder.mkdir()
        path = folder / "filterd.toml"
        path.write_text(
            "[server]\nstate_dir = 'state'\n[storage]\nmin_free_bytes = 0\n[recipients]\naccepted_domains = ['example.net']\n"
        )
        config = load_config(path)
        made.append(open_database(config))
        return Site(config, made[-1], path)

    yield make
    for database in made:
        database.close()


@pytest.fixture
def site(make_site: Callable[[str], Site]) -> Site:
    return make_site("site")


def honest(site: Site, count: int = 160, begin: int = 0) -> None:
    """As many reports, ham and spam in turn, oldest first."""
    for number in range(begin, begin + count):
        spam = bool(number % 2)
        tell(site.db, "spam" if spam else "ham", features(BAD if spam else GOOD, number), at_ms=NOW + number)


def octets_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def stopped_by(found: dict[str, Any]) -> list[str]:
    return [criterion["name"] for criterion in found["gate"]["criteria"] if not criterion["passed"]]


def test_a_candidate_learns_the_ledger_and_passes(site: Site) -> None:
    honest(site)
    found = site.train()
    before, after = Model.load(SEED_MODEL), Model.load(site.folder("candidate-1"))
    assert after.score(features(BAD, 999)) > before.score(features(BAD, 999))
    assert after.score(features(GOOD, 999)) < before.score(features(GOOD, 999))
    assert found["learned"] == {"ham": 80, "spam": 80}
    assert (found["base"], found["model"], found["position"]) == (before.name, after.name, 160)
    assert (found["gate"]["verdict"], stopped_by(found)) == ("passed", [])
    assert found["gate"]["candidate"]["ham"] >= 30
    assert read_manifest(site.folder("candidate-1")).metrics["held_out"]["spam"] >= 30
    assert read_manifest(site.folder("candidate-1")).metrics["reference"]["reports"] >= 60
    json.dumps(found)


def test_few_reports_are_not_enough_evidence(site: Site) -> None:
    honest(site, 20)
    assert site.train()["gate"]["verdict"] == "not_enough_evidence"


def test_a_pin_that_would_flip_stops_it(site: Site) -> None:
    """Somebody's good mail was released as false positive; later everybody calls mail like it spam."""
    came(site.db, "P", "a@shop.example", features(GOOD, 5000), action="quarantine")
    submit(site.config, site.db, Claim("ham", "admin", "quarantine", message_id="P", trusted=True), NOW)
    honest(site)
    fine = site.train("fine")
    assert fine["gate"]["verdict"] == "passed"
    site.promote("fine", fine)
    for number in range(300):
        tell(site.db, "spam", features(GOOD, number), at_ms=NOW + 1000 + number)
    found = site.train("poisoned")
    assert found["gate"]["verdict"] == "refused"
    pins = next(criterion for criterion in found["gate"]["criteria"] if criterion["name"] == "pins")
    assert pins["messages"] == ["P"]


def test_a_flipped_slice_is_refused_by_its_own_ham(site: Site) -> None:
    """Poison within the newest slice: of the good mail there, most is called spam; what is called ham shows it."""
    honest(site, 240)
    for number in range(240, 400):
        kind = BAD if number % 2 else GOOD
        label = "spam" if kind == BAD or number % 8 else "ham"
        tell(site.db, label, features(kind, number), at_ms=NOW + number)
    found = site.train()
    assert found["gate"]["verdict"] == "refused"
    assert {"false_positives", "log_loss"} & set(stopped_by(found))


def test_spam_called_ham_is_refused_where_the_model_in_use_catches_it(site: Site) -> None:
    honest(site)
    site.promote("first", site.train("first"))
    for number in range(160, 360):
        kind = BAD if number % 2 else GOOD
        label = "ham" if kind == GOOD or number % 8 != 1 else "spam"
        tell(site.db, label, features(kind, number), at_ms=NOW + number)
    found = site.train("second")
    assert found["gate"]["verdict"] == "refused"
    assert {"caught", "log_loss"} & set(stopped_by(found))


def test_a_targeted_sender_stops_it_and_a_trusted_word_lets_it_pass(site: Site) -> None:
    honest(site)
    for number in range(6):
        came(site.db, f"T{number}", "news@target.example", features(TARGET, number), at_ms=NOW)
    for number in range(100, 130):
        for reporter in ("m1@example.net", "m2@example.net", "m3@example.net"):
            tell(
                site.db,
                "spam",
                features(TARGET, number),
                at_ms=NOW + number,
                trusted=False,
                reporter=reporter,
                campaign=f"c{number}",
            )
    found = site.train("poisoned")
    assert found["gate"]["verdict"] == "refused"
    assert stopped_by(found) == ["senders"]
    senders = next(criterion for criterion in found["gate"]["criteria"] if criterion["name"] == "senders")
    assert "target.example" in senders["text"]
    assert set(senders["messages"]) <= {f"T{number}" for number in range(6)}
    submit(site.config, site.db, Claim("spam", "admin", "api", message_id="T1", trusted=True), NOW + 1000)
    assert "senders" not in stopped_by(site.train("after"))


def test_a_targeted_sender_that_only_comes_near_the_line_stops_it(site: Site) -> None:
    """What it would be called next time cannot be taken back then: its mail goes from good to doubtful in one candidate."""
    honest(site)
    for number in range(6):
        came(site.db, f"T{number}", "news@target.example", features(TARGET, number), at_ms=NOW)
    for number in range(50, 56):
        tell(site.db, "ham", features(TARGET, number), at_ms=NOW + 170)
    site.promote("first", site.train("first"))
    for number in range(100, 170):
        for reporter in ("m1@example.net", "m2@example.net", "m3@example.net"):
            told = {"trusted": False, "reporter": reporter, "campaign": f"c{number}"}
            tell(site.db, "spam", features(TARGET, number), at_ms=NOW + 1000 + number, **told)  # type: ignore[arg-type]
    found = site.train("poisoned")
    assert stopped_by(found)[0] == "senders", "the first that speaks"
    model = Model.load(site.folder("poisoned"))
    scores = [model.calibrated(model.score(features(TARGET, number))) for number in range(6)]
    assert max(scores) < 1, "not yet called spam"


def test_recent_mail_is_asked_of_the_model_of_a_month_ago(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    honest(site, 20)
    site.train("old")
    old = Model.load(site.folder("old"))
    asked: list[float] = []

    def streams(database: Database, now_ms: int, scores: Scores) -> tuple[list[Stream], list[Stream]]:
        assert scores.earlier is not None
        asked.append(scores.earlier(features(BAD, 1)))
        return [], []

    monkeypatch.setattr("api.retrain.earlier_model", lambda *_: old)
    monkeypatch.setattr("api.gate_mail.streams", streams)
    site.train("new")
    assert asked == [old.calibrated(old.score(features(BAD, 1)))]


def test_forgetting_what_the_shipped_set_shows_stops_it(site: Site) -> None:
    """A ledger of spam only pushes everything towards spam."""
    from training.extract import item_features
    from training.readers import read_index

    root = SEED_MODEL.parent / "regression"
    for number, item in enumerate(read_index(root / "index.tsv", root)):
        tell(site.db, "spam", item_features(item), at_ms=NOW + number)
    found = site.train()
    assert "regression" in stopped_by(found)


def test_what_the_model_in_use_has_learned_is_no_evidence(site: Site) -> None:
    honest(site)
    site.promote("first", site.train("first"))
    again = site.train("again")
    assert again["gate"]["candidate"]["ham"] == again["gate"]["candidate"]["spam"] == 0
    assert again["gate"]["verdict"] == "not_enough_evidence"
    honest(site, 80, begin=160)
    second = site.train("second")
    assert second["base"].startswith("seed-"), "nothing is learned twice"
    assert second["learned"] == {"ham": 120, "spam": 120}
    assert second["gate"]["candidate"]["ham"] == 30


def test_an_unlearned_report_leaves_no_trace(make_site: Callable[[str], Site]) -> None:
    """Bit for bit, through the real ledger: the mistake is reported, learned, promoted, withdrawn; the other site never saw it."""
    one, two = make_site("one"), make_site("two")
    for site in (one, two):
        for number in range(40):
            kind = BAD if number % 2 else GOOD
            came(site.db, f"M{number}", f"a{number}@x{number}.example", features(kind, number), action="quarantine")
        came(site.db, "WRONG", "b@good.example", features(BAD, 999), action="quarantine")
    mistakes = []
    for number in range(40):
        if number in (7, 30):  # in what is old, and in the newest slice
            claim = Claim("ham", "admin", "api", message_id="WRONG" if number == 7 else "M31", trusted=True)
            mistakes.append(submit(one.config, one.db, claim, NOW + number).report_id)
        label = "spam" if number % 2 else "ham"
        for site in (one, two):
            submit(
                site.config, site.db, Claim(label, "admin", "api", message_id=f"M{number}", trusted=True), NOW + number
            )
    learned = one.train("with")
    one.promote("with", learned)
    for mistake in mistakes:
        assert reports.unlearn(one.db, mistake, "anna")
    one.train("rebuilt")
    two.train("never")
    assert octets_of(one.folder("rebuilt")) == octets_of(two.folder("never"))
    assert set(octets_of(two.folder("never"))) == {"information.f32", "local.u8", "manifest.json", "weights.f32"}
    assert octets_of(one.folder("with"))["weights.f32"] != octets_of(one.folder("rebuilt"))["weights.f32"]


def test_the_time_of_training_is_in_no_file(site: Site) -> None:
    honest(site, 40)
    came(site.db, "A", "a@x.example", features(GOOD, 1), at_ms=NOW)
    site.train("now", now_ms=NOW + HOUR)
    came(site.db, "B", "b@x.example", features(BAD, 1), at_ms=NOW + 2 * HOUR)
    site.train("later", now_ms=NOW + 90 * 24 * HOUR)
    assert octets_of(site.folder("now")) == octets_of(site.folder("later"))


def test_features_of_an_older_program_are_never_learned(site: Site) -> None:
    reports.add(site.db, None, "spam", "anna", "api", features(BAD, 1).astype("<u4").tobytes())  # version 1 had no mark
    with pytest.raises(ModelError, match="there is no report to learn from"):
        site.train()
    tell(site.db, "ham", features(GOOD, 1))
    assert site.train()["learned"] == {"ham": 1, "spam": 0}


def test_nothing_to_learn_from(site: Site) -> None:
    with pytest.raises(ModelError, match="no report"):
        site.train()
    assert not site.folder("candidate-1").exists()


def test_a_promoted_model_that_cannot_be_loaded_is_replaced_by_the_seed(site: Site) -> None:
    honest(site, 40)
    site.promote("first", site.train("first"))
    (site.folder("first") / "manifest.sig").unlink()
    found = site.train("second")
    assert found["gate"]["active"] != {}
    assert found["base"].startswith("seed-")


@pytest.mark.parametrize("extra", [[], ["--from-scratch"]])
def test_the_command_tells_how_far_it_is(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    monkeypatch.setattr("os.nice", lambda _: None)
    honest(site, 50)
    came(site.db, "A", "a@x.example", features(GOOD, 1))
    assert main(["--config", str(site.path), "--out", str(site.folder("one")), *extra]) == 0
    *lines, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "progress" not in last, "the last line is the result"
    ends = {line["progress"]["step"]: line["progress"] for line in lines}
    assert list(ends) == ["reading", "learning", "judging"]
    assert ends["reading"]["done"] == 50
    assert ends["learning"]["done"] == ends["learning"]["total"] > 50, "it ends at what it said"
    assert ends["learning"]["seconds_left"] == 0.0
    assert ends["judging"]["done"] > 120, "the shipped set and the recent mail"


def _manifest(folder: Path, **changed: object) -> Path:
    folder.mkdir(parents=True)
    manifest = json.loads((SEED_MODEL / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changed}))
    return folder


def test_what_an_older_seed_was_the_root_of_begins_with_the_present_seed(tmp_path: Path) -> None:
    old = _manifest(
        tmp_path / "models" / "old", name="local-1", feature_version=1, training={"base": "seed-of-last-year"}
    )
    assert root_of(old, installed(tmp_path / "models")) == SEED_MODEL
    lost = _manifest(tmp_path / "models" / "lost", name="local-2", training={"base": "local-0"})
    with pytest.raises(ModelError, match="no longer installed; train a new one"):
        root_of(lost, installed(tmp_path / "models"))


def test_a_root_of_another_feature_version_says_what_to_do(tmp_path: Path) -> None:
    old = _manifest(tmp_path / "models" / "old", name="local-1", feature_version=1, training={})
    with pytest.raises(ModelError, match=r"feature version 1, this program has .*activate the seed"):
        root_of(old, installed(tmp_path / "models"))


def test_the_root_is_found_past_broken_folders(site: Site) -> None:
    assert root_of(SEED_MODEL, []) == SEED_MODEL
    honest(site, 10)
    site.train()
    broken = site.folder("broken")
    broken.mkdir()
    (broken / "manifest.json").write_text("[]")
    assert root_of(site.folder("candidate-1"), installed(broken.parent)) == SEED_MODEL


def test_the_command(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    nice: list[int] = []
    monkeypatch.setattr("os.nice", nice.append)
    command = ["--config", str(site.path), "--out"]
    assert main([*command, str(site.folder("one"))]) == 1
    assert capsys.readouterr().err == "there is no report to learn from\n"
    honest(site, 10)
    assert main([*command, str(site.folder("one")), "--actor", "anna"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["learned"] == {"ham": 5, "spam": 5}
    row = models.get(site.db, "one")
    assert row is not None
    assert (row.state, row.position, row.created_by) == (ModelState.UNPROVEN, 10, "anna")
    assert row.gate == found["gate"]
    model_key.verified(site.folder("one"), model_key.trusted(site.config))
    settings.set(site.db, "active_model", "one")
    assert main([*command, str(site.folder("two")), "--from-scratch"]) == 0
    second = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (second["mode"], second["learned"]) == ("scratch", {"ham": 5, "spam": 5})
    assert models.get(site.db, "two") is None
    assert main([*command, str(site.path.parent / "elsewhere"), "--actor", "anna"]) == 1
    assert "expected a folder in" in capsys.readouterr().err
    assert not (site.path.parent / "elsewhere").exists()
    assert main(["--config", "none.toml", "--out", "x"]) == 1
    assert nice == [10] * 5
