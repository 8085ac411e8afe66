"""Owns SpamAssassin's Bayes as a peer: one perl process that stays, its DB files on the RAM disk (spamassassin_bayes.pl).

Only the rule that asks Bayes is loaded: no other rule, no network test, no DNS, no auto-learning, no expiry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.accuracy.peer import MX_ADDRESS, PeerError, log_odds

_COMMON = (
    "dns_available no",
    "use_bayes 1",
    "bayes_auto_learn 0",
    "bayes_auto_expire 0",
    "bayes_min_ham_num 1",  # shipped: 200; it would have no opinion on the first hundreds
    "bayes_min_spam_num 1",
    "lock_method flock",
    f"trusted_networks {MX_ADDRESS}",
    f"internal_networks {MX_ADDRESS}",
)
VARIANTS = {"": (), "no-hapaxes": ("bayes_use_hapaxes 0",)}
_DRIVER = Path(__file__).with_name("spamassassin_bayes.pl")


class SpamAssassin:
    """Mail::SpamAssassin::Plugin::Bayes."""

    packages = "spamassassin"

    def __init__(self, variant: str = "") -> None:
        self._lines = VARIANTS[variant]
        shown = ", ".join(("bayes_min_ham_num 1, bayes_min_spam_num 1", *self._lines))
        self.settings = f"{shown}, no auto-learning, no expiry, no DNS; otherwise defaults"
        self._process: subprocess.Popen[bytes] | None = None
        self._refused = 0

    @staticmethod
    def missing() -> str:
        if not shutil.which("perl"):
            return "perl"
        found = subprocess.run(["perl", "-MMail::SpamAssassin", "-e1"], capture_output=True).returncode == 0
        return "" if found else "Mail::SpamAssassin"

    def start(self, folder: Path) -> None:
        self._refused = 0
        self._process = subprocess.Popen(
            ["perl", str(_DRIVER), str(folder), *_COMMON, *self._lines],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "log").open("wb"),
            env={**os.environ, "LC_ALL": "C", "HOME": str(folder)},
        )
        if not self._line().startswith(b"ready"):
            raise PeerError("spamassassin: did not start")

    def score(self, octets: bytes) -> float:
        return parse_score(self._ask(b"score", octets))

    def learn(self, octets: bytes, spam: bool) -> None:
        if self._ask(b"learn spam" if spam else b"learn ham", octets) != b"1\n":
            self._refused += 1

    def stop(self) -> str:
        if self._process is not None:
            self._process.communicate(timeout=60)
            self._process = None
        return f"{self._refused} messages not learned (it had them before)" if self._refused else ""

    def _ask(self, command: bytes, octets: bytes) -> bytes:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"%s %d\n%s" % (command, len(octets), octets))
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise PeerError("spamassassin: the process ended") from error
        return self._line()

    def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError("spamassassin: the process ended")
        return line


def parse_score(line: bytes) -> float:
    """Log-odds of the probability that the driver prints; 0 for "none"."""
    if line == b"none\n":
        return 0.0
    try:
        return log_odds(float(line))
    except ValueError as error:
        raise PeerError(f"spamassassin: not a score: {line[:80]!r}") from error
