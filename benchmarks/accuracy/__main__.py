"""Owns the accuracy command: which filters run over which mail by which protocol, and what the report holds.

One seed and one order of messages, so that the same mail and the same code give the same report (our part; a peer's to its own
last digit).  Must not know how anything is scored.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy import ours, peers, report, scores
from benchmarks.accuracy.peer import PeerError
from filterd.errors import FilterdError
from training.extract import FeatureStore
from training.metrics import figures
from training.readers import CorpusError, Item, by_date, by_folder, digest, read_index

ALL = "all"
PROTOCOLS = ("online", "batch", "cross", "noise")
SEED = 20261126


def main(arguments: list[str] | None = None) -> int:
    """0 when the report was written, 1 with a sentence on stderr when it could not."""
    options = _parser().parse_args(arguments)
    try:
        text = _run(options)
    except (FilterdError, PeerError, OSError) as error:
        print(f"benchmarks.accuracy: {error}", file=sys.stderr)
        return 1
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, required=True, help="folder with index.tsv, envelope.tsv and the collections"
    )
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the flipped labels; default {SEED}")
    parser.add_argument("--draws", type=int, default=3, help="draws of flipped labels for each share; default 3")
    parser.add_argument(
        "--peers", default="bogofilter,rspamd,spamassassin", help="names, or name:variant, by commas; empty for none"
    )
    parser.add_argument(
        "--folders",
        default="",
        help=f"by commas, {ALL} for the whole set; default: all that hold both classes, and {ALL}",
    )
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), help=f"by commas; default {','.join(PROTOCOLS)}")
    parser.add_argument(
        "--peer-scores", type=Path, help="folder: scores of peers are read from it, or written to it when new"
    )
    parser.add_argument("--kept-only", action="store_true", help="use the kept scores of peers and run no peer")
    parser.add_argument("--jobs", type=int, default=2, help="processes that decode mail; default 2")
    parser.add_argument("--out", type=Path, help="file to write; default: standard output")
    return parser


class _Parts:
    """The sets of messages that are judged, in order of date."""

    def __init__(self, corpus: Path, wanted: str) -> None:
        self.items = by_date(read_index(corpus / "index.tsv", corpus))
        folders = by_folder(self.items)
        both = [name for name, group in folders.items() if len({item.spam for item in group}) == 2]
        names = [name for name in wanted.split(",") if name] or [*sorted(both), ALL]
        if unknown := [name for name in names if name != ALL and name not in folders]:
            raise CorpusError(f"{corpus}: has no folder {', '.join(unknown)}")
        self.sets = {name: self.items if name == ALL else folders[name] for name in names}


def _run(options: argparse.Namespace) -> str:
    begun = time.monotonic()
    protocols = [name for name in options.protocols.split(",") if name]
    if unknown := [name for name in protocols if name not in PROTOCOLS]:
        raise CorpusError(f"no protocol {', '.join(unknown)}; there are {', '.join(PROTOCOLS)}")
    parts = _Parts(options.corpus, options.folders)
    found = _peers(options, parts, [name for name in protocols if name in {"online", "batch"}])
    sections = [f"# Accuracy: seed {options.seed}, {len(parts.items)} messages, SHA-256 {digest(parts.items)[:16]}"]
    sections += [
        f"`python -m benchmarks.accuracy --corpus DIR --peers {options.peers} --protocols {options.protocols} --draws {options.draws}`"
    ]
    for protocol, run in (("online", ours.online), ("batch", ours.batch)):
        if protocol not in protocols:
            continue
        rows: dict[str, list[report.Row]] = {}
        for part, items in parts.sets.items():
            rows[part] = [(ours.NAME, run(items, options.jobs))]
            rows[part] += [(name, one) for name, kind, where, one in found if (kind, where) == (protocol, part)]
        sections += [f"## {_TITLES[protocol]}", report.goal(rows, options.seed)]
        sections += [f"### {part}\n\n{report.table(lines)}" for part, lines in rows.items()]
    if "cross" in protocols:
        crossed = ours.cross(parts.items, options.jobs)
        sections += [f"## {_TITLES['cross']}", report.table(list(crossed.items()))]
    if "noise" in protocols:
        sections += [f"## {_TITLES['noise']}", _noise(options, parts)]
    if found:
        sections += ["## Peers", report.settings([(name, f"{kind}, {part}", one) for name, kind, part, one in found])]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sections.append(f"Run: {time.monotonic() - begun:.0f} s wall, peak {memory} MB resident in the main process.")
    return "\n\n".join(sections)


_TITLES = {
    "online": "Online, cold start: score, then train on the true label at once",
    "batch": "Batch by time: trained on the first half, frozen on the second",
    "cross": "Cross-corpus: each folder by a model of the other folders only",
    "noise": "Label noise, online: told flipped labels, judged on true ones",
}


def _noise(options: argparse.Namespace, parts: _Parts) -> str:
    store = FeatureStore.of(parts.items, options.jobs, "noise")
    place = {id(item): number for number, item in enumerate(parts.items)}
    rows = {}
    for part, items in parts.sets.items():
        numbers = [place[id(item)] for item in items]
        truth = [item.spam for item in items]
        rows[part] = ours.noise(store, numbers, truth, options.seed, options.draws, _area)
    return report.noise(rows)


def _area(labels: Sequence[bool], given: Sequence[float]) -> float:
    return figures(labels, given).one_minus_roca


_Found = list[tuple[str, str, str, scores.Scores]]


def _peers(options: argparse.Namespace, parts: _Parts, protocols: list[str]) -> _Found:
    """(peer, protocol, set, its scores), kept ones where there are some; a peer that is missing or fails is named and left out."""
    found: _Found = []
    for name in [name for name in options.peers.split(",") if name]:
        for protocol in protocols:
            for part, items in parts.sets.items():
                try:
                    found.append((name, protocol, part, _one(options, name, protocol, part, items)))
                except PeerError as error:
                    print(f"{name}, {protocol}, {part}: {error}", file=sys.stderr)
    return found


def _one(options: argparse.Namespace, name: str, protocol: str, part: str, items: list[Item]) -> scores.Scores:
    judged = items if protocol == "online" else peers.halves(items)[1]
    kept = scores.file_of(options.peer_scores, name, protocol, part) if options.peer_scores else None
    if kept is not None and kept.is_file():
        one = scores.read(kept, judged)
        if one.run.digest != peers.digest_of(items, protocol):
            print(
                f"{kept}: the octets given to peers have changed since; delete it to have it made again",
                file=sys.stderr,
            )
        return one
    if options.kept_only:
        raise PeerError("no kept scores")
    one = peers.run(peers.make(name), items, protocol, f"{name}, {protocol}, {part}")
    if kept is not None:
        scores.write(kept, judged, one)
    return one


if __name__ == "__main__":
    sys.exit(main())
