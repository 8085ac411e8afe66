"""The pictures are made of the scores that were given, for every set, in both formats, and say what they show."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from training import plots
from training.plots import PlotsError, Scores, roc_points, write_plots


def scores(ham: int = 200, spam: int = 100) -> Scores:
    generator = np.random.default_rng(1)
    return [False] * ham + [True] * spam, (
        generator.normal(size=ham + spam) + np.repeat([-2.0, 2.0], [ham, spam])
    ).tolist()


def test_roc_by_hand() -> None:
    # thresholds below 9, 4, 3, 1: a tie is passed at once
    lost, missed = roc_points([False, True, True, False, True], [1.0, 9.0, 4.0, 4.0, 3.0])
    assert lost.tolist() == [0.0, 0.0, 0.5, 0.5, 1.0]
    assert missed.tolist() == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0, 0.0])


def test_png_for_every_set_and_all_rocs(tmp_path: Path) -> None:
    files = write_plots({"vger": scores(), "all": scores(300, 200)}, tmp_path / "out")
    assert [file.name for file in files] == ["roc.png", "vger.png", "all.png"]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG\r\n")
        assert file.stat().st_size > 20_000


def test_svg_says_what_it_shows_and_repeats(tmp_path: Path) -> None:
    first, second = (
        write_plots({"vger": scores(), "all": scores(300, 200)}, tmp_path / name, "svg", "online") for name in "ab"
    )
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    roc, _, everything = (file.read_text() for file in first)
    for text in ("vger  (1-ROCA)%", "ham lost, %", "spam missed, %", "ROC, online"):
        assert text in roc
    for text in ("all: 300 ham, 200 spam, online", "Calibration, ECE", "probability of spam that was said", "log-odds"):
        assert text in everything


@pytest.mark.parametrize(
    "odd",
    [
        ([True], [3.0]),
        ([False] * 3, [0.0] * 3),
        ([True, False], [900.0, -900.0]),
        ([True, False], [-900.0, 900.0]),
        ([True, False], [0.0, 0.0]),
    ],
)
def test_the_smallest_sets_have_pictures_too(tmp_path: Path, odd: Scores) -> None:
    files = write_plots({"odd": odd}, tmp_path)
    assert tmp_path / "odd.png" in files
    assert (tmp_path / "roc.png" in files) == (len(set(odd[0])) == 2)


def test_any_name_is_a_file_of_its_own_inside_the_folder(tmp_path: Path) -> None:
    one = ([True, False], [1.0, -1.0])
    files = write_plots(dict.fromkeys(["../x", "x", "X", "roc", "", "."], one), tmp_path)
    assert len({file.name.lower() for file in files}) == 7
    assert all(file.parent == tmp_path and file.exists() for file in files)


def test_without_matplotlib_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(PlotsError, match=r"pip install 'filterd\[plots\]'"):
        write_plots({"all": scores()}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_limits_of_the_calibration_are_those_of_the_share(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    p = 0.5
    plots._calibration(axes, ([True] * 3 + [False] * 7, [math.log(p / (1 - p))] * 10))
    (line,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert line.get_xydata() == pytest.approx(np.array([[0.5, 0.3]]))
    segment = axes.collections[0].get_segments()[0]  # type: ignore[attr-defined]
    assert segment[:, 1] == pytest.approx([0.0667, 0.6525], abs=1e-3)  # 3 of 10 in the published tables
