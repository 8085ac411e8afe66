"""`python -m benchmarks.evasion --corpus DIR`: how far tricks move the score of real spam, and innocent changes that of all mail.

Spam of each folder that the model gives more than --above log-odds is written anew by every transformation of tests/support/evasion*.py
and scored again.  The table is that of benchmarks/evasion.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from filterd.classifier.features import Indices, features
from filterd.classifier.manifest import WEIGHTS
from filterd.classifier.model import Model
from filterd.classifier.passages import Weights, judged
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.mail.message import Message
from tests.support import evasion, evasion_pages, evasion_shape
from tests.support.evasion import Change, text_of, texts
from training.edge import at_the_edge
from training.readers import Item, by_folder, read_index

TAG = 2.0  # log-odds from which content alone tags under the default policy
SIZES = {"1": 1_000, "3": 3_000, "10": 10_000, "30": 30_000, "300": 300_000}  # KB of innocent text
KEEP = 400_000  # octets: longer spam says nothing more about tricks


@dataclass(frozen=True)
class Trick:
    """A transformation, and what it is compared with."""

    name: str
    change: Change
    before: Callable[[bytes], bytes] = bytes
    innocent: bool = False


def filler_text(items: list[Item], size: int) -> str:
    """Text of ham, of many messages in turn: what a sender would take who has them."""
    chance = random.Random(11)
    pieces: list[str] = []
    for item in chance.sample(items, len(items)):
        message, _ = at_the_edge(item.read())
        for part in texts(message)[:1]:
            text = text_of(message, part)
            if part.content_type == "text/plain" and text.isascii() and 300 < len(text) < 4_000:
                pieces.append(re.sub(r"[ \t]+", " ", text))
        if sum(map(len, pieces)) > size:
            break
    return "\n".join(pieces)[:size]


def tricks(filler: str) -> list[Trick]:
    """All of them, in the order of the table."""
    as_page = evasion_pages.as_page
    short = filler[:2_000]
    out = [Trick(f"innocent: {name}", change, innocent=True) for name, change in evasion.INNOCENT.items()]
    out += [Trick(f"innocent: {name}", change, innocent=True) for name, change in evasion_shape.INNOCENT_SHAPES.items()]
    out += [Trick(f"letters: {name}", change) for name, change in evasion.LETTERS.items()]
    out += [Trick(f"markup: {name}", change, as_page) for name, change in evasion_pages.CUT.items()]
    out += [Trick(f"charset: {name}", change) for name, change in evasion.CHARSETS.items()]
    for way in evasion_pages.HIDING:
        out.append(Trick(f"hidden 3 KB first: {way}", evasion_pages.hidden(way, filler[:3_000]), as_page))
    for way in ("display", "font-size 0", "white", "class", "left"):
        out.append(Trick(f"hidden 30 KB first: {way}", evasion_pages.hidden(way, filler[:30_000]), as_page))
        out.append(Trick(f"hidden 3 KB last: {way}", evasion_pages.hidden(way, filler[:3_000], first=False), as_page))
    out += [Trick(f"place: {name}", change, as_page) for name, change in evasion_pages.elsewhere(short).items()]
    out += [Trick(f"shape: {name}", change) for name, change in evasion_shape.shapes(short).items()]
    out += [Trick(f"head: {name}", change) for name, change in evasion_shape.heads(filler[5_000:8_000]).items()]
    for name, size in SIZES.items():
        out.append(Trick(f"visible: {name} KB first", evasion_shape.visible(filler[:size], first=True)))
    for name in ("3", "30"):
        out.append(Trick(f"visible: {name} KB last", evasion_shape.visible(filler[: SIZES[name]], first=False)))
        out.append(Trick(f"visible: {name} KB around", evasion_shape.around(filler[: SIZES[name]])))
    return out


def score(model: Model, octets: bytes, facts: ConnectionFacts) -> float:
    """Calibrated log-odds, by the strongest passage where that counts (classifier/passages.py)."""

    def log_odds(indices: Indices) -> float:
        return model.calibrated(model.score(indices))

    stream, allowance = judged(content_stream(Message(octets), facts), _WEIGHTS[0], log_odds)
    return log_odds(features(stream)) - allowance


def shifts(model: Model, chosen: list[tuple[bytes, ConnectionFacts]], trick: Trick) -> tuple[np.ndarray, np.ndarray]:
    """(before, after) for each message."""
    before, after = [], []
    for octets, facts in chosen:
        start = trick.before(octets)
        before.append(score(model, start, facts))
        after.append(score(model, trick.change(octets), facts))
    return np.array(before), np.array(after)


def choose(
    model: Model, items: list[Item], spam: bool, count: int, above: float
) -> list[tuple[bytes, ConnectionFacts]]:
    """Messages of one folder and class; of spam those that the model knows."""
    found: list[tuple[bytes, ConnectionFacts]] = []
    for item in random.Random(3).sample(items, len(items)):
        if item.spam != spam or len(found) >= count:
            continue
        message, facts = at_the_edge(item.read(), item.facts)
        octets = bytes(message.octets)
        if len(octets) < KEEP and texts(message) and (not spam or score(model, octets, facts) > above):
            found.append((octets, facts))
    return found


def row(name: str, before: np.ndarray, after: np.ndarray) -> str:
    """A line of the table: shift towards ham is negative; the tenth and the hundredth part that moved furthest."""
    change = after - before
    known = before >= TAG
    lost = 100.0 * np.mean(after[known] < TAG) if known.any() else 0.0
    figures = [np.mean(change), np.median(change), np.percentile(change, 10), np.percentile(change, 1)]
    figures.append(np.percentile(np.abs(change), 90))
    return f"| {name} | " + " | ".join(f"{value:.2f}" for value in figures) + f" | {lost:.1f} |"


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """The lines of the table."""
    model = Model.load(arguments.model)
    _WEIGHTS.append(np.fromfile(arguments.model / WEIGHTS, "<f4"))
    items = read_index(arguments.corpus / "index.tsv", arguments.corpus)
    folders = by_folder(items)
    spam = [m for name in sorted(folders) for m in choose(model, folders[name], True, arguments.count, arguments.above)]
    ham = [m for name in sorted(folders) for m in choose(model, folders[name], False, arguments.count // 2, 0.0)]
    filler = filler_text([item for item in items if not item.spam], SIZES["300"])
    print(f"{len(spam)} spam, {len(ham)} ham, {len(filler)} octets of innocent text", file=sys.stderr)
    for trick in tricks(filler):
        if not re.search(arguments.only, trick.name):
            continue
        _WORK.append((f"{trick.name}, spam" if trick.innocent else trick.name, model, spam, trick))
        if trick.innocent:
            _WORK.append((f"{trick.name}, ham", model, ham, trick))
    yield "| transformation | mean | median | 10 % below | 1 % below | 90 % within | below the tag % |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    # Forked: transformations are closures, which cannot be handed to a process that was there before.
    with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
        yield from pool.imap(_line, range(len(_WORK)))


def _line(number: int) -> str:
    name, model, mails, trick = _WORK[number]
    return row(name, *shifts(model, mails, trick))


_WEIGHTS: list[Weights] = []
_WORK: list[tuple[str, Model, list[tuple[bytes, ConnectionFacts]], Trick]] = []


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="unpacked corpus with its index.tsv")
    parser.add_argument("--model", type=Path, default=Path("models/seed"))
    parser.add_argument("--count", type=int, default=100, help="messages of each folder")
    parser.add_argument("--above", type=float, default=TAG, help="log-odds that spam has before")
    parser.add_argument("--only", default="", help="expression that names of transformations match")
    parser.add_argument("--jobs", type=int, default=2)
    for line in run(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
