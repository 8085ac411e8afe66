"""Every dialog of this folder on the pure core, in three kinds of pieces, and over a socket on both event loops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from tests.support.dialogs import parse, play_on_core, play_over_socket
from tests.support.memorylink import lines, single, whole

FILES = sorted(Path(__file__).parent.glob("*.txt"))
PIECES = {"whole": whole, "lines": lines, "single": single}


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_on_the_core(path: Path, pieces: str) -> None:
    dialog = parse(path)
    if pieces == "whole" or "whole" not in dialog.only:
        play_on_core(dialog, PIECES[pieces])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_over_a_socket(path: Path) -> None:
    dialog = parse(path)
    if "core" not in dialog.only:
        play_over_socket(dialog, asyncio.run)
        play_over_socket(dialog, uvloop.run)


def test_a_wrong_answer_is_found(tmp_path: Path) -> None:
    """The language itself: every expectation can fail, and says where."""
    for text, line in (
        ("S: 221", 1),
        ("S: 220\nC: NOOP\nS~ 251", 3),
        ("S: 220\nC: NOOP\nS! 250", 3),
        ("S: 220\nC: QUIT\nS: <close>", 3),
        ("S: 220\nS: <close>", 2),
    ):
        path = tmp_path / "wrong.txt"
        path.write_text(text)
        for play in (lambda dialog: play_on_core(dialog, whole), play_over_socket):
            if text.endswith("220\nS: <close>") and play is play_over_socket:
                continue  # it would wait for the server's own time limit
            with pytest.raises(AssertionError, match=f"line {line}:"):
                play(parse(path))
    for text in ("S: 220\nC: QUIT\nS: 221\n= close disconnect", "S: 220\nM: x"):
        path.write_text(text)
        with pytest.raises(AssertionError):
            play_on_core(parse(path), whole)
