"""`filterd exchange …`: what is done at the border to Exchange; each action is in a file of its own."""

from __future__ import annotations

import argparse
from types import ModuleType

from filterd.commands import exchange_dkim, exchange_setup, exchange_verify

_ACTIONS: tuple[ModuleType, ...] = (
    exchange_setup,
    exchange_verify,
    exchange_dkim,
)  # files with actions: register(group)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    group = commands.add_parser("exchange", help="set Exchange up for filterd, and look whether it is").add_subparsers(
        required=True, metavar="ACTION"
    )
    for module in _ACTIONS:
        module.register(group)
