"""Owns the measurement of what a site's model knows: how much of later mail of its own and of other kinds it has seen before.

A site learns the first N messages of one folder (trusted labels, in order of date); then the rest of that folder, and the folders it
has never seen, are scored.  "Held" is ham at log-odds 4 or more, which the default policy would quarantine by content alone;
"held, bounded" is what is left of it when mail that is not familiar weighs less.
Run: python -m benchmarks.familiarity --corpus DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from filterd.classifier.familiarity import MIN_SHARE, Familiarity
from training.estimator import TRUSTED_STEP, Learner, NoiseGauge
from training.extract import FeatureStore
from training.publish import LocalMail
from training.readers import by_date, by_folder, read_index

SITES = (("vger", 300), ("vger", 1000), ("csdmc2010", 1000), ("spamassassin", 1000), ("spamassassin", 4000))
_QUARANTINE = 4.0  # policy.quarantine_score
_MOST = 500  # messages of each kind


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with index.tsv")
    options = parser.parse_args()
    folders = {
        name: by_date(group)
        for name, group in by_folder(read_index(options.corpus / "index.tsv", options.corpus)).items()
    }
    stores = {name: FeatureStore.of(group) for name, group in folders.items()}
    print("| site, labelled | mail | seen here, median (tenth part below) | familiar | ham held | ham held, bounded |")
    print("|---|---|---|---|---|---|")
    for site, count in SITES:
        learner, local = Learner(gauge=NoiseGauge()), LocalMail()
        for number, item in enumerate(folders[site][:count]):
            learner.learn(stores[site][number], item.spam, TRUSTED_STEP)
            local.add(stores[site][number], item.spam)
        known = Familiarity(local.counts, local.ham, local.spam)
        for name, group in folders.items():
            for spam in (False, True):
                first = count if name == site else 0
                chosen = [n for n in range(first, len(group)) if group[n].spam == spam][:_MOST]
                if not chosen:
                    continue
                shares = np.array([known.share(stores[name][n]) for n in chosen])
                scores = np.array([learner.score(stores[name][n]) for n in chosen])
                held = scores >= _QUARANTINE
                figures = (
                    ("-", "-")
                    if spam
                    else (f"{100 * held.mean():.1f} %", f"{100 * (held & (shares >= MIN_SHARE)).mean():.1f} %")
                )
                kind = f"{'later ' if name == site else ''}{name} {'spam' if spam else 'ham'}"
                print(
                    f"| {site}, {count} | {kind} | {np.median(shares):.2f} ({np.quantile(shares, 0.1):.2f}) | "
                    f"{100 * (shares >= MIN_SHARE).mean():.0f} % | {figures[0]} | {figures[1]} |"
                )


if __name__ == "__main__":
    main()
