"""Owns the pictures of an evaluation: ROC on logarithmic axes, calibration, histogram of scores.  Must not know protocols.

matplotlib is an extra of its own ("plots"): whoever only trains does without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import expit

from filterd.errors import FilterdError
from training.limits import share_limits
from training.metrics import BINS, figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["png", "svg"]
FORMATS: tuple[Format, ...] = ("png", "svg")
Scores = tuple[Sequence[bool], Sequence[float]]  # true means spam; log-odds

# Okabe and Ito (2008): told apart by colour-blind people too.
_HAM, _SPAM, _MODEL, _GREY = "#0072B2", "#D55E00", "#000000", "#8a8a8a"
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#A05A2C")
_REACH = 12.0  # log-odds that the histogram shows; what lies beyond is counted in its last bin
_STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "filterd",  # the same scores, the same octets
    "svg.fonttype": "none",
}


class PlotsError(FilterdError):
    """Pictures cannot be made here."""


def check() -> None:
    """Raise PlotsError without matplotlib: better before the scores are made than after."""
    if find_spec("matplotlib") is None:
        raise PlotsError("--plot needs matplotlib; install it with: pip install 'filterd[plots]'")


def write_plots(results: Mapping[str, Scores], folder: Path, form: Format = "png", title: str = "") -> list[Path]:
    """Write `roc` with all sets and, of each set, one picture with its three plots; the files.

    Args:
        results: scores by the name of the set; "all" is drawn strongest.
        folder: made when it is not there.

    Raises PlotsError without matplotlib, OSError.
    """
    check()
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    with rc_context(_STYLE):  # type: ignore[arg-type]  # its keys are a closed list of literals
        names = [name for name, (labels, _) in results.items() if len(set(labels)) == 2]
        if names:
            figure = Figure(figsize=(9.0, 6.0), layout="constrained")
            FigureCanvasAgg(figure)
            _roc(figure.subplots(), {name: results[name] for name in names}, f"ROC{_of(title)}")
            files.append(_save(figure, folder, "roc", form))
        taken = {"roc"}
        for name, scores in results.items():
            figure = Figure(figsize=(13.5, 4.4), layout="constrained")
            FigureCanvasAgg(figure)
            left, middle, right = figure.subplots(1, 3)
            _roc(left, {name: scores}, "ROC")
            _calibration(middle, scores)
            _histogram(right, scores)
            labels = scores[0]
            figure.suptitle(f"{name}: {labels.count(False):,} ham, {labels.count(True):,} spam{_of(title)}")
            files.append(_save(figure, folder, _free(name, taken), form))
    return files


def _of(title: str) -> str:
    return f", {title}" if title else ""


def _free(name: str, taken: set[str]) -> str:
    """A file name for a set of any name, unlike those before."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60].strip("_") or "folder"
    number = 1
    while (free := stem if number == 1 else f"{stem}-{number}").lower() in taken:
        number += 1
    taken.add(free.lower())
    return free


def _save(figure: Figure, folder: Path, name: str, form: Format) -> Path:
    path = folder / f"{name}.{form}"
    figure.savefig(path, format=form, dpi=110, metadata={"Date": None} if form == "svg" else None)
    return path


def roc_points(labels: Sequence[bool], scores: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(share of ham lost, share of spam missed) at every threshold, from the highest to the lowest."""
    y = np.asarray(labels, bool)
    s = np.asarray(scores, float)
    order = np.argsort(-s, kind="stable")
    last = np.append(np.flatnonzero(np.diff(s[order])), len(s) - 1)  # a threshold takes all messages of one score
    lost = np.concatenate([[0.0], np.cumsum(~y[order])[last] / (~y).sum()])
    found = np.concatenate([[0.0], np.cumsum(y[order])[last] / y.sum()])
    return lost, 1 - found


def _roc(axes: Axes, results: Mapping[str, Scores], title: str) -> None:
    """Ham lost against spam missed, both in percent on logarithmic axes: good filters differ in the corner."""
    both = {name: scores for name, scores in results.items() if len(set(scores[0])) == 2}
    axes.set_title(title)
    if not both:
        _nothing(axes, "one class only")
        return
    smallest_ham = min(100 / list(labels).count(False) for labels, _ in both.values())
    smallest_spam = min(100 / list(labels).count(True) for labels, _ in both.values())
    floor_x, floor_y = (10 ** np.floor(np.log10(0.5 * least)) for least in (smallest_ham, smallest_spam))
    for number, (name, (labels, scores)) in enumerate(both.items()):
        lost, missed = (
            np.clip(100 * share, floor, 100)
            for share, floor in zip(roc_points(labels, scores), (floor_x, floor_y), strict=True)
        )
        strong = name == "all" or len(both) == 1
        colour = _MODEL if strong else _LINES[number % len(_LINES)]
        found = figures(labels, scores)
        axes.plot(lost, missed, drawstyle="steps-post", color=colour, linewidth=2.0 if strong else 1.3,
                  zorder=3 if strong else 2, label=f"{name}  (1-ROCA)% {found.one_minus_roca:.3g}")  # fmt: skip
        axes.plot(
            [max(found.hm, floor_x)], [max(found.sm, floor_y)], "o", color=colour, markersize=5, zorder=4, clip_on=False
        )
    axes.set(xscale="log", yscale="log", xlim=(floor_x, 100), ylim=(floor_y, 100))
    axes.set_xlabel("ham lost, %   (left edge: none)")
    axes.set_ylabel("spam missed, %   (lower edge: none)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    beside = (
        {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0.0}
        if len(both) > 1
        else {"loc": "upper right"}
    )
    axes.legend(title="dot: at log-odds 0", fontsize=8, title_fontsize=8, **beside)


def _calibration(axes: Axes, scores: Scores) -> None:
    """How much of what was given a probability is spam, with exact 95 % limits; above it how many messages that is."""
    y, p = np.asarray(scores[0], bool), expit(np.asarray(scores[1], float))
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="what is said")
    said, was, low, high = [], [], [], []
    for number in range(BINS):
        inside = bins == number
        count, spam = int(inside.sum()), int(y[inside].sum())
        if count:
            under, over = share_limits(spam, count)
            said.append(float(p[inside].mean()))
            was.append(spam / count)
            low.append(was[-1] - under / 100)
            high.append(over / 100 - was[-1])
            axes.text(said[-1], 1.02, f"{count:,}", transform=axes.get_xaxis_transform(), fontsize=6.5,
                      color="#555555", ha="center", va="bottom", rotation=90)  # fmt: skip
    axes.errorbar(said, was, yerr=[np.maximum(low, 0), np.maximum(high, 0)], fmt="o", color=_MODEL, markersize=4,
                  elinewidth=1, capsize=2, label="what it was")  # fmt: skip
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set_title(f"Calibration, ECE {figures(*scores).ece:.4f}   (above: messages)", pad=30)
    axes.set_xlabel("probability of spam that was said")
    axes.set_ylabel("share that was spam")
    axes.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")


def _histogram(axes: Axes, scores: Scores) -> None:
    """How many messages of each class have which log-odds, on a logarithmic axis: the few in the wrong place are the point."""
    y = np.asarray(scores[0], bool)
    s = np.clip(np.asarray(scores[1], float), -_REACH, _REACH)
    edges = np.linspace(-_REACH, _REACH, 49).tolist()
    for name, chosen, colour in (("ham", ~y, _HAM), ("spam", y, _SPAM)):
        if chosen.any():
            axes.hist(s[chosen], bins=edges, histtype="stepfilled", color=colour, alpha=0.35)
            axes.hist(s[chosen], bins=edges, histtype="step", color=colour, linewidth=1.3, label=name)
    axes.axvline(0, color=_GREY, linewidth=1)
    axes.set(yscale="log", xlim=(-_REACH, _REACH))
    axes.set_ylim(bottom=0.7)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title("Scores")
    axes.set_xlabel(f"log-odds   (edges: {_REACH:g} and beyond)")
    axes.set_ylabel("messages")
    axes.legend(loc="upper center", fontsize=8, ncols=2)


def _nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=_GREY)
    axes.set_axis_off()
