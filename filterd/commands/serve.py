"""`filterd serve`: start everything, or one part of it (for containers)."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

from filterd import log, supervisor
from filterd.adapters.tallies import SharedTallies
from filterd.checks.names import check_names
from filterd.commands.options import add_config
from filterd.config import Config, load_active, load_config


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("serve", help="run the filter: SMTP workers and the side service")
    add_config(command)
    command.add_argument(
        "--part",
        choices=("all", "smtp", "outbox"),
        default="all",
        help="run one part alone: an SMTP worker, or the delivery of the outbox where no side service runs (default: all)",
    )
    command.add_argument("--slot", default="smtp-0", help="name of this worker, for the ledger and metrics")
    command.add_argument("--fds", default="", help=argparse.SUPPRESS)  # sockets that the supervisor hands down
    command.add_argument("--tallies", type=int, default=-1, help=argparse.SUPPRESS)  # and its shared counters
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    config = load_config(options.config) if options.part == "all" else load_active(options.config)
    check_names(config)
    log.set_up(config.log.level, config.log.format)
    config.state_dir.mkdir(parents=True, exist_ok=True)
    if options.part == "all":
        return supervisor.Supervisor(config, options.config).run()
    # Each process imports what it runs: the supervisor is there to start the others, and waits for none of their packages.
    if options.part == "outbox":
        from filterd import housekeeping

        housekeeping.run(config)
        return 0
    from filterd import worker

    sockets = _sockets(config, options.fds)
    worker.run(config, Path(options.config).resolve(), options.slot, sockets, _tallies(options))
    return 0


def _tallies(options: argparse.Namespace) -> SharedTallies:
    """The counters of the supervisor, this worker's region by its number; a lone worker has its own."""
    if options.tallies < 0:
        return SharedTallies.alone()
    return SharedTallies.open(options.tallies, int(options.slot.rpartition("-")[2]))


def _sockets(config: Config, fds: str) -> list[socket.socket]:
    if fds:
        return [socket.socket(fileno=int(fd)) for fd in fds.split(",")]
    for group in config.endpoints:
        supervisor.refuse_taken(group[0])
    return [supervisor.bind(group[0]) for group in config.endpoints]
