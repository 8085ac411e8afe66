"""Owns the command: which runs are made, and the tables that come of them.

Run: python -m benchmarks.learning --corpus DIR [--messages 6000] [--days 12] [--only noise|sender|campaign]
Every run begins with the same model of other people's mail and the same stream of messages.  Figures are those of the mail of all days
but the first, each message judged before anything was learned of it.  `gate on`: only what passes is promoted; `by hand`: what lacks
evidence is, too, as by an administrator who trusts it; `gate off`: every candidate is; `at once`: no ledger and no gate, each report moves the model when it comes.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.learning.mail import Mail, a_sender, copies, make_root, site_mail
from benchmarks.learning.site import QUARANTINE, Run, Score, root_scores
from filterd.config import load_config
from training.judged import ABSTAIN
from training.metrics import figures

_GATES = {
    "gate on": ("passed",),
    "by hand": ("passed", "not_enough_evidence"),
    "gate off": ("passed", "not_enough_evidence", "refused"),
}
COPIES = 10  # of the campaign, or of the target's newsletter, each day
_MODERATE = 2.5  # log-odds of the campaign's message at first: tagged and delivered, else nobody could report it
_CONFIG = """
[server]
state_dir = "state"
[storage]
min_free_bytes = 0
[recipients]
accepted_domains = ["site.example"]
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with index.tsv and the collections")
    parser.add_argument("--messages", type=int, default=6000)
    parser.add_argument("--days", type=int, default=12)
    parser.add_argument("--only", choices=["noise", "sender", "campaign"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _tables(options, Path(folder))


def _tables(options: argparse.Namespace, folder: Path) -> None:
    root = folder / "root"
    make_root(options.corpus, root)
    stream = site_mail(options.corpus, options.messages)
    print(
        f"{len(stream)} messages, {sum(mail.spam for mail in stream)} of them spam, {options.days} days\n", flush=True
    )
    if options.only in (None, "noise"):
        print("| reports flipped | model | 1-ROCA % | hm % | sm % | candidates | stopped by |")
        print("|---|---|---|---|---|---|---|")
        for noise in (0.0, 0.05, 0.1):
            for name, answers in _GATES.items():
                run = _run(folder, root, stream, options.days, answers, noise=noise)
                later = [score for score in run.scores if score.day]
                _row(f"{noise:.0%}", name, later, run)
                if name == "gate off":
                    _row(f"{noise:.0%}", "at once", [_at_once(score) for score in later], None)
    scores = root_scores(root, stream)
    passed = [mail for mail, score in zip(stream, scores, strict=True) if mail.spam or score < 0]
    target = a_sender(passed, len(stream) // 20)
    if options.only in (None, "sender"):
        newsletter = next(mail for mail in passed if mail.sender == target and not mail.spam)
        print(
            f"\nattack on one sender ({sum(m.sender == target for m in stream)} good messages, {COPIES} more each day)\n"
        )
        _attack(folder, root, stream, options.days, newsletter, target)
    if options.only in (None, "campaign"):
        chosen = min(zip(stream, scores, strict=True), key=_far_from_moderate)[0]
        print(f"\nattack for one campaign ({COPIES} copies a day)\n")
        _attack(folder, root, stream, options.days, chosen)


def _attack(folder: Path, root: Path, stream: list[Mail], days: int, repeated: Mail, target: str = "") -> None:
    what = "target's ham called spam %, held %" if target else "campaign passed %, not held %"
    print(f"| model | {what} | 1-ROCA % | hm % | sm % | candidates | stopped by | reports |")
    print("|---|---|---|---|---|---|---|---|")
    for gate in ("gate on", "gate off"):
        run = _run(folder, root, stream, days, _GATES[gate], target=target, repeated=repeated)
        later = [score for score in run.scores if score.day > run.attack_from]
        for name, scores in (
            (gate, later),
            *([("at once", [_at_once(score) for score in later])] if gate == "gate off" else []),
        ):
            hit = [score.log_odds for score in scores if score.attacked]
            if target:
                shares = (sum(value > ABSTAIN for value in hit), sum(value >= QUARANTINE for value in hit))
            else:
                shares = (sum(value <= ABSTAIN for value in hit), sum(value < QUARANTINE for value in hit))
            first, second = (f"{100 * share / max(len(hit), 1):.1f}" for share in shares)
            rest = [score for score in scores if not score.attacked]
            found = figures([score.spam for score in rest], [score.log_odds for score in rest])
            verdicts, stopped = (_counts(run.verdicts), _counts(run.stopped_by)) if name != "at once" else ("", "")
            print(
                f"| {name} | {first}, {second} of {len(hit)} | {found.one_minus_roca:.3f} | {found.hm:.2f} | {found.sm:.2f} | "
                f"{verdicts} | {stopped} | {_counts(run.states)} |",
                flush=True,
            )


def _run(
    folder: Path,
    root: Path,
    stream: list[Mail],
    days: int,
    answers: tuple[str, ...],
    *,
    noise: float = 0.0,
    target: str = "",
    repeated: Mail | None = None,
) -> Run:
    begun = time.process_time()
    place = Path(tempfile.mkdtemp(dir=folder))
    (place / "filterd.toml").write_text(_CONFIG)
    run = Run(load_config(place / "filterd.toml"), noise, answers, target)
    installed = run.config.state_dir / "models" / "root"
    installed.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(root, installed)
    run.begin(installed)
    size = len(stream) // days
    for day in range(days):
        extra = copies(repeated, COPIES, day) if repeated is not None else []
        run.day(day, stream[day * size : (day + 1) * size], extra)
    run.end()
    shutil.rmtree(place)
    print(f"{noise=} {answers=} {target=}: {time.process_time() - begun:.0f} s CPU", file=sys.stderr)
    return run


def _far_from_moderate(pair: tuple[Mail, float]) -> float:
    mail, score = pair
    return abs(score - _MODERATE) if mail.spam else math.inf


def _at_once(score: Score) -> Score:
    return Score(score.day, score.spam, score.at_once, score.at_once, score.attacked)


def _row(noise: str, name: str, scores: Sequence[Score], run: Run | None) -> None:
    found = figures([score.spam for score in scores], [score.log_odds for score in scores])
    verdicts, stopped = (_counts(run.verdicts), _counts(run.stopped_by)) if run is not None else ("", "")
    print(
        f"| {noise} | {name} | {found.one_minus_roca:.3f} | {found.hm:.2f} | {found.sm:.2f} | {verdicts} | {stopped} |",
        flush=True,
    )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counter.most_common())


if __name__ == "__main__":
    main()
