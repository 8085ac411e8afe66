"""Owns the command line's words; each command's work is in filterd/commands.  Exit status 2: the input cannot be used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from filterd import __version__
from filterd.errors import ConfigError, FilterdError

Command = Callable[[argparse.Namespace], int]

# Command: its file in filterd/commands, in the order of the help.  Only the file of the command that is typed is imported:
# all of them take a second of a processor, and `serve` starts every process of the filter.
COMMANDS = {
    "serve": "serve",
    "scan": "scan",
    "audit": "audit",
    "trace": "trace",
    "protocol": "protocol",
    "token": "token",
    "password": "password",
    "lists": "lists",
    "reports": "reports",
    "models": "models",
    "directory": "directory",
    "dmarc-reports": "dmarc_reports",
    "check-config": "configuration",
    "print-config": "configuration",
    "doctor": "doctor",
    "exchange": "exchange",
}


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The command `wanted` with its options; all commands when it is none of them, for help and complaints."""
    top = argparse.ArgumentParser(prog="filterd", description="Anti-spam edge filter for Microsoft Exchange.")
    top.add_argument("--version", action="version", version=f"filterd {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    files = [COMMANDS[wanted]] if wanted in COMMANDS else list(dict.fromkeys(COMMANDS.values()))
    for file in files:
        import_module(f"filterd.commands.{file}").register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser(given[0] if given else None).parse_args(given)
    run: Command = options.run
    try:
        return run(options)
    except ConfigError as error:
        for problem in error.problems:
            print(f"filterd: {problem}", file=sys.stderr)
        return 2
    except FilterdError as error:
        print(f"filterd: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        return 0
    except KeyboardInterrupt:
        return 130
