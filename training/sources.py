"""Owns how a command is told where its mail is, and reads all of it into one list.  Must not know what the mail is for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.dates import dated
from training.maildir import is_maildir, read_maildir, read_one
from training.progress import Progress
from training.quarantine import read_quarantine
from training.readers import CorpusError, Item, by_date, read_folder, read_index, read_mbox


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options by which mail is named; each but --index, --root and --envelope may be given several times."""
    mail = command.add_argument_group("mail (any of these together)")
    mail.add_argument("--index", type=Path, help="index file: label, path, date, separated by tabs")
    mail.add_argument("--root", type=Path, help="folder that the index's paths are relative to; default: the index's")
    mail.add_argument(
        "--envelope", type=Path, help="path, client address, HELO; default: envelope.tsv beside the index"
    )
    for label in ("ham", "spam"):
        mail.add_argument(
            f"--{label}",
            type=Path,
            action="append",
            default=[],
            metavar="PLACE",
            help=f"folder of .eml files, one Maildir folder, or mbox file: all of it is {label}",
        )
    mail.add_argument(
        "--maildir",
        type=Path,
        action="append",
        default=[],
        help="a person's whole Maildir: junk folders are spam, what was seen and left elsewhere is ham, the rest is left out",
    )
    mail.add_argument(
        "--quarantine",
        type=Path,
        metavar="CONFIG",
        help="configuration file of a filterd: the labelled mail of its corpus ledger",
    )
    mail.add_argument("--upto", type=int, help="of --quarantine: only reports up to this number")


def collected(options: argparse.Namespace) -> list[Item]:
    """All mail that the options name: an index alone in its own order, which is that of arrival; else in order of date.

    Raises CorpusError, ConfigError, StorageError, OSError.
    """
    listed: list[Item] = []
    if options.index is not None:
        listed = read_index(options.index, options.root or options.index.parent, options.envelope)
    found = _found(options)
    if not listed and not found:
        raise CorpusError(
            "no mail is named, or there is none there: --index, --ham, --spam, --maildir or --quarantine (see --help)"
        )
    if not found:
        return listed
    with Progress("dates", len(found)) as progress:
        return by_date(listed + dated(found, progress.advance))


def _found(options: argparse.Namespace) -> list[Item]:
    """What no index lists."""
    items: list[Item] = []
    for spam, places in ((False, options.ham), (True, options.spam)):
        for place in places:
            items += _place(place, spam)
    for place in options.maildir:
        items += read_maildir(place)
    if options.quarantine is not None:
        found = read_quarantine(options.quarantine.absolute(), options.upto)
        items += found.items
        left_out = f", {found.left_out} of another version left out" if found.left_out else ""
        note = f"{options.quarantine}: {len(found.items)} messages of reports up to {found.position}{left_out}"
        print(note, file=sys.stderr)
    return items


def _place(place: Path, spam: bool) -> list[Item]:
    if is_maildir(place):
        return read_one(place, spam=spam)
    return read_folder(place, spam=spam) if place.is_dir() else read_mbox(place, spam=spam)
