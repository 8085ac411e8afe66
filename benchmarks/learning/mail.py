"""Owns the mail of the simulated site: real messages of three collections in one stream, and the model it begins with.

Must not know users, reports or attacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from api.gate_mail import author
from filterd.classifier.features import BUCKETS, Indices, features
from filterd.classifier.stream import content_stream
from training.edge import at_the_edge
from training.evaluate import held_out_split
from training.extract import FeatureStore
from training.fitting import FOREIGN_PASSES, FOREIGN_STEP, calibrate, fit
from training.publish import publish
from training.readers import Item, by_date, by_folder, read_index

SITE = (
    "spamassassin",
    "csdmc2010",
    "phishing_pot",
)  # the shipped seed knows the first: the site begins with another root
ROOT = ("vger", "lists", "foff", "nazario2005")
_CHANGED = 0.15  # of the features of a copy: enough that no two are near-duplicates to the index of campaigns


@dataclass(frozen=True, slots=True)
class Mail:
    """One message: what it is, its features, the author's field and domain."""

    spam: bool
    indices: Indices
    header_from: str
    sender: str


def site_mail(corpus: Path, count: int) -> list[Mail]:
    """About `count` messages, evenly taken from the three collections, each in order of date, mixed by their place in it."""
    folders = {name: by_date(group) for name, group in by_folder(read_index(corpus / "index.tsv", corpus)).items()}
    total = sum(len(folders[name]) for name in SITE)
    placed: list[tuple[float, Item]] = []
    for name in SITE:
        items = folders[name]
        share = max(1, round(count * len(items) / total))
        chosen = [items[int(place * len(items) / share)] for place in range(min(share, len(items)))]
        placed += [(number / len(chosen), item) for number, item in enumerate(chosen)]
    return [_read(item) for _, item in sorted(placed, key=lambda pair: (pair[0], pair[1].path))]


def _read(item: Item) -> Mail:
    message, facts = at_the_edge(item.read(), item.facts)
    header_from = message.first("from")[:500]
    return Mail(item.spam, np.sort(features(content_stream(message, facts))), header_from, author(header_from))


def make_root(corpus: Path, out: Path) -> None:
    """A model of other people's mail, made like the shipped seed but from collections of which the site has nothing."""
    folders = by_folder(read_index(corpus / "index.tsv", corpus))
    items = [item for name in ROOT for item in by_date(folders[name])]
    labels = [item.spam for item in items]
    store = FeatureStore.of(items)
    older, newest = held_out_split(items, list(range(len(items))))
    trial = fit(store, labels, older, passes=FOREIGN_PASSES, step=FOREIGN_STEP)
    scores = [trial.score(store[number]) for number in newest]
    calibration = calibrate(scores, [labels[number] for number in newest], through_origin=True)
    final = fit(store, labels, passes=FOREIGN_PASSES, step=FOREIGN_STEP)
    publish(final.weights, final.information, out, prefix="root", calibration=calibration)


def copies(mail: Mail, count: int, seed: int) -> list[Mail]:
    """So many messages that say the same in other words, from the same author."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        kept = mail.indices[generator.random(len(mail.indices)) >= _CHANGED]
        fresh = generator.integers(0, BUCKETS, len(mail.indices) - len(kept)).astype(np.uint32)
        made.append(Mail(mail.spam, np.unique(np.concatenate([kept, fresh])), mail.header_from, mail.sender))
    return made


def a_sender(stream: Sequence[Mail], most: int) -> str:
    """The author domain with the most good messages, at most `most`, and no spam; all of one look, as a newsletter or a list is."""
    ham = Counter(mail.sender for mail in stream if not mail.spam and mail.sender)
    spam = {mail.sender for mail in stream if mail.spam}
    return max((count, name) for name, count in ham.items() if count <= most and name not in spam)[1]
