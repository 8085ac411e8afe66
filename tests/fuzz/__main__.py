"""`python -m tests.fuzz TARGET [libFuzzer options]`: one target under atheris, until it breaks or is stopped.

atheris is not among the locked dependencies: `.venv/bin/pip install atheris` first.  What breaks a target is written by
libFuzzer beside the command as crash-…; give that file as an argument to run it again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def main() -> int:
    """Returns 2 for a name that is no target or without atheris; else libFuzzer ends the process."""
    try:
        import atheris
    except ImportError:
        print("atheris is missing; install it with: .venv/bin/pip install atheris", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["filterd"]):
        from tests.fuzz.targets import TARGETS, WORDS
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        print(
            f"usage: python -m tests.fuzz TARGET [-max_total_time=60 …]; targets: {', '.join(TARGETS)}", file=sys.stderr
        )
        return 2
    with TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS[name]))
        atheris.Setup([sys.argv[0], f"-dict={words}", *sys.argv[2:]], TARGETS[name])
        atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    """As libFuzzer's dictionaries want it."""
    return "".join(f"\\x{octet:02x}" for octet in word)


if __name__ == "__main__":
    sys.exit(main())
