"""A model of one's own mail is the same whether its making was left alone, stopped or killed."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from filterd.classifier.model import Model
from tests.unit.training.samples import write_collection
from training import work
from training.fitting import ORDERS
from training.local import make_local
from training.readers import CorpusError, Item, by_date, read_index
from training.work import Work

COUNT = 240
# The command as it is, with chunks that a test can fill, and a stop where the test wants it: after so many chunks, or while
# it learns, it waits for a line from the test.  It says when it has noted that it is to end.
COMMAND = """
import os, sys
from training import extract, stopping, work
from training.__main__ import main
work.CHUNK, extract._CHUNK = 16, 8
where = sys.argv.pop(1)
kept, saved = work.Work.keep, work.FolderCheckpoint.save
count = 0

def keep(self, chunk):
    global count
    kept(self, chunk)
    count += 1
    if where == str(count):
        sys.stdin.readline()

def save(self, orders, mean):
    saved(self, orders, mean)
    if where == "learning":
        sys.stdin.readline()

class Asked(stopping.Asked):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if value is not None:
            os.write(1, b"noted\\n")

work.Work.keep, work.FolderCheckpoint.save, stopping.Asked = keep, save, Asked
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mail")
    write_collection(root, COUNT)
    return root


@pytest.fixture(scope="module")
def items(mail: Path) -> list[Item]:
    return by_date(read_index(mail / "index.tsv", mail))


@pytest.fixture(scope="module")
def undisturbed(items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "model"
    make_local(items, out, 1)
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def begun(mail: Path, folder: Path, where: str) -> subprocess.Popen[str]:
    arguments = [
        where,
        "fit",
        "--index",
        str(mail / "index.tsv"),
        "--work",
        str(folder / "work"),
        "--out",
        str(folder / "model"),
    ]
    # A shell's background job ignores Ctrl-C, and so would what the tests start there.
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def children(process: subprocess.Popen[str]) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process.pid:
                found.append(int(entry.name))
    return found


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_ended_again_and_again_and_gone_on_with(mail: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """Killed, asked to end, Ctrl-C while it decodes, each after a random chunk; killed while it learns."""
    chance = random.Random(20261126)
    folder = tmp_path / "work"
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        more = chance.randrange(1, 4)
        wanted = lines(folder / "chunks.tsv") + more
        process = begun(mail, tmp_path, str(more))
        until(lambda: lines(folder / "chunks.tsv") >= wanted)  # noqa: B023 - called within this turn
        helpers = children(process)
        process.send_signal(number)
        said = process.communicate("\n")[1]
        assert process.returncode == (128 + number if number != signal.SIGKILL else -number)
        if number != signal.SIGKILL:
            assert said.endswith(f"training: stopped; the same command goes on with what is kept in {folder}\n")
            assert "Traceback" not in said
        until(lambda: not any(map(alive, helpers)))  # noqa: B023 - nobody is left behind
        assert not (tmp_path / "model").exists()
    with (folder / "features.u4").open("ab") as file:
        file.write(b"half of a chunk")
    process = begun(mail, tmp_path, "learning")
    until((folder / "trial.learner").exists)
    process.kill()
    assert "is half written or damaged, it is decoded again" in process.communicate()[1]
    process = begun(mail, tmp_path, "nowhere")
    process.communicate()
    assert process.returncode == 0
    assert contents(tmp_path / "model") == undisturbed


@pytest.mark.slow
def test_a_second_request_does_not_wait(mail: Path, tmp_path: Path) -> None:
    process = begun(mail, tmp_path, "1")
    until(lambda: lines(tmp_path / "work" / "chunks.tsv") >= 1)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0]
    assert process.stdout.readline() == "noted\n"
    process.send_signal(signal.SIGTERM)  # and no line that would let it go on
    process.wait(60)
    assert process.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "model").exists()
    process.communicate()


def test_learning_goes_on_after_every_order(
    items: list[Item], undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = work.FolderCheckpoint.save
    saves = 0

    def once_more(self: work.FolderCheckpoint, orders: int, mean: object) -> None:
        nonlocal saves
        saves += 1
        real(self, orders, mean)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(work.FolderCheckpoint, "save", once_more)
    for _ in range(2 * ORDERS):
        with pytest.raises(KeyboardInterrupt), Work(tmp_path / "work", items) as kept:
            make_local(items, tmp_path / "model", 1, kept)
    with Work(tmp_path / "work", items) as kept:
        make_local(items, tmp_path / "model", 1, kept)
    assert saves == 2 * ORDERS, "no order is learned twice"
    assert contents(tmp_path / "model") == undisturbed


def test_it_knows_what_this_site_has_seen(items: list[Item], tmp_path: Path) -> None:
    manifest, held_out = make_local(items, tmp_path / "model", 1)
    assert (manifest.local_ham, manifest.local_spam) == (COUNT // 2, COUNT // 2)
    assert (held_out.ham, held_out.spam) == (COUNT // 10, COUNT // 10)
    assert Model.load(tmp_path / "model").name == manifest.name


def test_one_class_is_not_enough(items: list[Item], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="both ham and spam"):
        make_local([item for item in items if item.spam], tmp_path / "model", 1)
    assert os.listdir(tmp_path) == []
