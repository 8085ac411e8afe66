"""Mail is found wherever the options say it is, in order of date unless an index says otherwise."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from training import sources
from training.readers import CorpusError, Item

RECEIVED = "Received: from a by b; 0{} Mar 2026 10:00:00 +0000\nSubject: x\n\nText\n"


def collected(*arguments: object) -> list[Item]:
    parser = argparse.ArgumentParser()
    sources.add_arguments(parser)
    return sources.collected(parser.parse_args([str(argument) for argument in arguments]))


def put(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_every_shape_together_in_order_of_date(tmp_path: Path) -> None:
    put(tmp_path / "eml" / "a.eml", RECEIVED.format(4))
    put(tmp_path / "junk" / "cur" / "x:2,", RECEIVED.format(2))
    put(tmp_path / "junk" / "new" / "y", RECEIVED.format(5))
    box = put(tmp_path / "box", "From a@b.example Sun Mar  1 07:06:05 2026\nSubject: x\n\n")
    put(tmp_path / "md" / "cur" / "z:2,S", RECEIVED.format(6))
    (tmp_path / "md" / "new").mkdir()
    index = put(tmp_path / "index.tsv", "spam\teml/a.eml\t2026-03-03T00:00:00Z\n")
    items = collected(
        *("--index", index, "--ham", tmp_path / "eml", "--ham", box, "--spam", tmp_path / "junk"),
        *("--maildir", tmp_path / "md"),
    )
    assert [(item.path, item.spam) for item in items] == [
        ("box/1", False),
        ("junk/cur/x:2,", True),
        ("eml/a.eml", True),
        ("eml/a.eml", False),
        ("junk/new/y", True),
        ("md/cur/z:2,S", False),
    ]


def test_an_index_alone_is_in_order_of_arrival(tmp_path: Path) -> None:
    index = put(tmp_path / "index", "spam b\nham a\n")
    put(tmp_path / "a", RECEIVED.format(1))
    put(tmp_path / "b", RECEIVED.format(2))
    assert [item.path for item in collected("--index", index)] == ["b", "a"]
    assert [item.date for item in collected("--index", index)] == ["", ""], "its order is not to be changed"


def test_nothing_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments in ([], ["--ham", tmp_path / "empty"]):
        with pytest.raises(CorpusError, match="--quarantine"):
            collected(*arguments)
