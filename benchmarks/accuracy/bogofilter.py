"""Owns bogofilter as a peer: a process per score and one per message learned, word list on the RAM disk.

It has no way to score and learn by turns in one process.  Scores are read with -TT: 16 decimals, all that its double holds.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.accuracy.peer import PeerError, log_odds

# Options beside -C (no configuration files).  What is not named is bogofilter's own default.
VARIANTS = {
    "": (),
    "pairs": ("--multi-token-count=2",),
    "all-tokens": ("-m0.02,0.0178,0.52",),
    "old": ("-m0.1,0.01,0.415",),
    "pairs-all": ("--multi-token-count=2", "-m0.02,0.0178,0.52"),
}
_DEFAULTS = "min_dev 0.375, robs 0.0178, robx 0.52"
_NO_OPINION = 3  # exit code for errors, among them: there is no word list yet


class Bogofilter:
    """`bogofilter -d FOLDER`."""

    packages = "bogofilter"

    def __init__(self, variant: str = "") -> None:
        self._options = VARIANTS[variant]
        shown = " ".join(self._options)
        self.settings = f"defaults ({_DEFAULTS})" if not shown else f"{shown}, otherwise defaults"
        self._command: list[str] = []
        self._learned = False

    @staticmethod
    def missing() -> str:
        return "" if shutil.which("bogofilter") else "bogofilter"

    def start(self, folder: Path) -> None:
        self._command = ["bogofilter", "-C", "-d", str(folder), "--db-transaction=no", *self._options]
        self._learned = False

    def score(self, octets: bytes) -> float:
        if not self._learned:
            return 0.0
        return parse_score(self._run(octets, "-TT"))

    def learn(self, octets: bytes, spam: bool) -> None:
        self._run(octets, "-s" if spam else "-n")
        self._learned = True

    def stop(self) -> str:
        return ""

    def _run(self, octets: bytes, option: str) -> bytes:
        done = subprocess.run([*self._command, option], input=octets, capture_output=True, close_fds=False)
        if done.returncode >= _NO_OPINION or done.returncode < 0:
            raise PeerError(f"bogofilter {option}: {done.returncode} {done.stderr.decode('latin-1')[:200]}")
        return done.stdout


def parse_score(output: bytes) -> float:
    """Log-odds of the one number that -TT prints."""
    try:
        return log_odds(float(output))
    except ValueError as error:
        raise PeerError(f"bogofilter: not a score: {output[:80]!r}") from error
