"""Owns the command line's words; each command's work is in filterd/commands.  Exit status 2: the input cannot be used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from filterd import __version__
from filterd.commands import (
    audit,
    configuration,
    directory,
    dmarc_reports,
    doctor,
    exchange,
    lists,
    models,
    password,
    protocol,
    reports,
    scan,
    serve,
    token,
    trace,
)
from filterd.errors import ConfigError, FilterdError

Command = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = argparse.ArgumentParser(prog="filterd", description="Anti-spam edge filter for Microsoft Exchange.")
    top.add_argument("--version", action="version", version=f"filterd {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    mail = (serve, scan, audit, trace, protocol)
    house = (token, password, lists, reports, models, directory, dmarc_reports, configuration, doctor, exchange)
    for module in (*mail, *house):
        module.register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parser().parse_args(arguments)
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
