"""Owns the sandbox's command line: `python -m sandbox`, `make run`.  Must not know what it runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sandbox.run import Options, run


def main(arguments: list[str] | None = None) -> int:
    """Run the sandbox; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="filterd between sample senders and a stand-in for Exchange, all on 127.0.0.1.",
    )
    environment = os.environ.get
    parser.add_argument(
        "--smtp-port",
        type=int,
        default=int(environment("SANDBOX_SMTP_PORT", "2525")),
        help="port of the front door (default 2525, or SANDBOX_SMTP_PORT)",
    )
    parser.add_argument(
        "--api-port",
        type=int,
        default=int(environment("SANDBOX_API_PORT", "8025")),
        help="port of the API (default 8025, or SANDBOX_API_PORT)",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path(environment("SANDBOX_STATE_DIR", "sandbox-state")),
        help="folder for all it writes (default sandbox-state, or SANDBOX_STATE_DIR)",
    )
    parser.add_argument("--once", action="store_true", help="end after the table; status 1 if a sample went astray")
    found = parser.parse_args(arguments)
    return run(Options(found.state_dir, found.smtp_port, found.api_port, found.once))


if __name__ == "__main__":
    sys.exit(main())
