"""`filterd directory …`: what is known of recipients, and from where; syncing and calibrating are in files of their own."""

from __future__ import annotations

import argparse
from types import ModuleType

from filterd.commands import directory_calibrate, directory_show, directory_sync

# Files with actions of their own: register(group).
_FURTHER: tuple[ModuleType, ...] = (
    directory_show,
    directory_sync,
    directory_calibrate,
)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    group = commands.add_parser("directory", help="recipients: what is known of them, and from where").add_subparsers(
        required=True, metavar="ACTION"
    )
    for module in _FURTHER:
        module.register(group)
