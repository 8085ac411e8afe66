"""A candidate learns everything, is judged on what its siblings have not learned, and is the same whenever it is made."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from filterd.classifier.features import to_octets
from filterd.classifier.manifest import LOCAL, read_manifest
from filterd.classifier.model import Model
from filterd.config import SEED_MODEL
from filterd.errors import ModelError
from tests.support.growth import assert_growth
from tests.support.learning import NOW, features
from training.candidate import Lessons, Mode, first_half, make
from training.estimator import REPORTED_STEP, TRUSTED_STEP
from training.fitting import fit
from training.publish import publish


@dataclass(frozen=True)
class Example:
    report_id: int
    message_id: str | None
    campaign: str | None
    label: str
    features: bytes
    created_ms: int
    trusted: bool = True


def example(number: int, spam: bool, kind: int | None = None) -> Example:
    """Ham and spam each have a kind of their own."""
    kind = (11 if spam else 10) if kind is None else kind
    octets = to_octets(features(kind, number))
    return Example(number, f"m{number}", None, "spam" if spam else "ham", octets, NOW + number)


def examples(count: int) -> list[Example]:
    return [example(number, bool(number % 2)) for number in range(count)]


def lessons_of(found: list[Example]) -> Lessons:
    lessons = Lessons()
    for each in found:
        lessons.append(each)
    return lessons


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that knows nothing."""
    out = tmp_path_factory.mktemp("root") / "blank"
    nothing = fit([], [], orders=1)
    publish(nothing.weights, nothing.information, out, prefix="seed", calibration=(2.0, 0.0))
    return out


def octets_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_it_learns_all_of_them_and_says_so(blank: Path, tmp_path: Path) -> None:
    made = make(blank, lessons_of(examples(100)))
    manifest = made.publish(tmp_path / "out", {"held_out": {"ham": 1}})
    model = Model.load(tmp_path / "out")
    assert model.calibrated(model.score(features(11, 999))) > 1
    assert model.calibrated(model.score(features(10, 999))) < -1
    assert model.score(features(11, 999)) * 2.0 == pytest.approx(made.final.log_odds(features(11, 999)))
    assert (manifest.local_ham, manifest.local_spam) == (50, 50)
    assert manifest.metrics == {"held_out": {"ham": 1}}
    training = manifest.training
    assert training["learned"] == {"ham": 50, "spam": 50}
    assert (training["position"], training["until_ms"], training["mode"]) == (100, NOW + 99, "warm")
    assert training["base"] == read_manifest(blank).name
    assert training["base_sha256"] == hashlib.sha256((blank / "manifest.json").read_bytes()).hexdigest()
    assert training["ledger_sha256"] == lessons_of(examples(100)).sha256


def test_the_slice_is_judged_by_the_sibling_that_has_not_learned_it(blank: Path) -> None:
    """Each message of the newest slice is of a kind of its own: whoever has not learned it knows nothing of it."""
    wrong = [replace(example(number, bool(number % 2), 20 + number), trusted=True) for number in range(80, 100)]
    made = make(blank, lessons_of(examples(80) + wrong), minimum=1)
    assert sorted(made.held_out) == list(range(80, 100))
    for number, log_odds in made.held_out.items():
        learned = made.final.log_odds(features(20 + number, number))
        assert abs(log_odds) < 0.5 < abs(learned), "a kind that nothing else shows"


def test_both_halves_of_a_campaign_are_on_one_side(blank: Path) -> None:
    pair = [
        replace(example(number, True, 30), campaign="C", message_id=None, features=to_octets(features(30, number)))
        for number in (98, 99)
    ]
    made = make(blank, lessons_of(examples(98) + pair))
    assert abs(made.held_out[98]) < 0.5
    assert abs(made.held_out[99]) < 0.5
    assert {first_half(f"c{number}") for number in range(50)} == {True, False}


def test_a_campaign_is_a_group_whatever_its_messages_are_called() -> None:
    found = [replace(example(number, True), campaign="C") for number in range(3)]
    alone = [replace(example(9, True), message_id=None), example(8, True)]
    groups = [note.group for note in lessons_of([*found, *alone]).notes]
    assert groups[:3] == ["C"] * 3
    assert groups[4] == "m8"
    assert groups[3] == hashlib.sha256(alone[0].features).hexdigest(), "no number of a report decides"


def test_poison_in_the_slice_shows_in_the_slice(blank: Path) -> None:
    """Half of the newest ham is called spam: the other half, called ham, is what the siblings then get wrong."""
    older = examples(160)
    honest = [example(number, bool(number % 2)) for number in range(160, 200)]
    poison = [
        replace(each, label="spam") if each.label == "ham" and each.report_id % 4 == 0 else each for each in honest
    ]
    clean, bad = make(blank, lessons_of(older + honest)), make(blank, lessons_of(older + poison))
    ham = [number for number in range(160, 200) if number % 2 == 0 and number % 4]
    assert sum(bad.held_out[number] for number in ham) > sum(clean.held_out[number] for number in ham) + len(ham) * 0.3


@pytest.mark.parametrize("mode", list(Mode))
def test_the_same_examples_give_the_same_octets(blank: Path, tmp_path: Path, mode: Mode) -> None:
    for name in ("one", "two"):
        made = make(blank, lessons_of(examples(60)), mode=mode)
        made.publish(tmp_path / name, {"log_odds": [made.held_out[number] for number in sorted(made.held_out)]})
    assert octets_of(tmp_path / "one") == octets_of(tmp_path / "two")
    assert LOCAL in octets_of(tmp_path / "one")


def test_another_process_gives_the_same_octets(blank: Path, tmp_path: Path) -> None:
    make(blank, lessons_of(examples(40))).publish(tmp_path / "here", {})
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.training.test_candidate import examples, lessons_of\n"
        "from training.candidate import make\n"
        "make(Path(sys.argv[1]), lessons_of(examples(40))).publish(Path(sys.argv[2]), {})\n"
    )
    command = [sys.executable, "-c", script, str(blank), str(tmp_path / "there")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3], env={"PYTHONHASHSEED": "7"}, timeout=60)
    assert octets_of(tmp_path / "here") == octets_of(tmp_path / "there")


def test_numbers_of_reports_do_not_matter(blank: Path, tmp_path: Path) -> None:
    found = examples(40)
    make(blank, lessons_of(found)).publish(tmp_path / "one", {})
    later = [replace(each, report_id=each.report_id * 3 + 5) for each in found]
    make(blank, lessons_of(later)).publish(tmp_path / "two", {})
    assert octets_of(tmp_path / "one") == octets_of(tmp_path / "two")


def test_trust_decides_how_far_a_label_moves(blank: Path) -> None:
    def moved(trusted: bool) -> float:
        return make(blank, lessons_of([replace(example(1, True), trusted=trusted)])).final.log_odds(features(11, 1))

    assert moved(True) / moved(False) == pytest.approx(TRUSTED_STEP / REPORTED_STEP, rel=0.01)


def test_the_digest_tells_labels_trust_and_features_apart() -> None:
    one = example(1, True)
    others = [replace(one, trusted=False), replace(one, label="ham"), replace(one, features=example(2, True).features)]
    digests = {lessons_of([each]).sha256 for each in (one, *others)}
    assert len(digests) == 4
    same = replace(one, report_id=99, created_ms=1, message_id="x", campaign="C")
    assert lessons_of([same]).sha256 in digests, "neither number nor time"


def test_phish_is_spam_and_another_programs_features_stay_out(blank: Path) -> None:
    lessons = lessons_of([replace(example(1, True), label="phish"), replace(example(2, True), features=b"\1\0\0\0")])
    assert (lessons.counts, lessons.left_out) == ({"ham": 0, "spam": 1}, 1)
    assert make(blank, lessons).final.log_odds(features(11, 1)) > 0


def test_from_scratch_only_the_examples_count(tmp_path: Path) -> None:
    made = make(SEED_MODEL, lessons_of(examples(200)), mode=Mode.SCRATCH)
    manifest = made.publish(tmp_path / "out", {})
    assert made.final.log_odds(np.arange(500_000, 500_100, dtype=np.uint32)) == pytest.approx(
        manifest.offset, abs=1.0
    ), "what the examples do not show is not known"
    assert made.final.log_odds(features(11, 999)) > 1 > -1 > made.final.log_odds(features(10, 999))
    assert manifest.training["mode"] == "scratch"
    assert manifest.training["base"] == Model.load(SEED_MODEL).name, (
        "so that the next candidate begins where it would have"
    )
    assert all(made.held_out[number] > 0 for number in made.held_out if number % 2)


def test_nothing_to_learn_from(blank: Path) -> None:
    with pytest.raises(ModelError, match="no report"):
        make(blank, Lessons())


@pytest.mark.parametrize(
    ("spam", "minimum", "start"),
    [
        ([True, False] * 50, 10, 80),  # the newest fifth has ten of each
        ([True, False] * 50, 15, 70),  # more where that is too few
        ([True, False] * 50, 30, 50),  # never more than half
        ([False] * 50 + [True] * 50, 1, 50),
        ([True], 30, 1),
    ],
)
def test_the_slice_is_the_newest_fifth_or_more(spam: list[bool], minimum: int, start: int) -> None:
    lessons = lessons_of([example(number, label) for number, label in enumerate(spam)])
    assert lessons.slice_start(minimum) == start


def test_time_grows_no_faster_than_the_ledger(blank: Path) -> None:
    many = examples(2000)
    assert_growth(lambda size: lambda: make(blank, lessons_of(many[:size])), 500, 2000, 6.0)
