"""Collections in every supported shape are read as what they are, and bad ones are named."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.growth import assert_growth
from tests.unit.training.samples import write_collection
from training.readers import CorpusError, Item, by_date, by_folder, digest, read_folder, read_index, read_mbox


def test_index(tmp_path: Path) -> None:
    items = read_index(write_collection(tmp_path, 8), tmp_path)
    assert [item.spam for item in items] == [False, True] * 4
    assert {name: len(group) for name, group in by_folder(items).items()} == {"one": 4, "two": 4}
    assert items[0].read().startswith(b"From: ")
    assert items[0].date == "2026-01-01T00:00:00Z"


def test_index_with_blanks_and_without_date(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("spam inmail.1\nHam inmail.2\n\n")
    assert [(item.spam, item.path, item.date) for item in read_index(tmp_path / "index", tmp_path)] == [
        (True, "inmail.1", ""),
        (False, "inmail.2", ""),
    ]


def test_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("ham\ta\nmaybe\tb\n")
    with pytest.raises(CorpusError, match="index:2"):
        read_index(tmp_path / "index", tmp_path)


def test_envelope_beside_the_index_is_read(tmp_path: Path) -> None:
    (tmp_path / "index.tsv").write_text("ham\ta\nham\tb\n")
    (tmp_path / "envelope.tsv").write_text("a\t192.0.2.1\tmx.example\tspf=pass\nb\t-\t-\t-\n")
    first, second = read_index(tmp_path / "index.tsv", tmp_path)
    assert first.facts is not None
    assert (first.facts.client_ip, first.facts.helo) == ("192.0.2.1", "mx.example")
    assert second.facts is None


def test_folder_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("mails/a.eml", "mails/deep/b.eml", "mails/.hidden", "mails/.git/x"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"Subject: x\n\n")
    assert [item.path for item in read_folder(tmp_path / "mails", spam=True)] == ["mails/a.eml", "mails/deep/b.eml"]


def test_mbox(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.write_bytes(
        b"From a Mon 10:00:00\nSubject: 1\n\nFrom here on text\n>From b\n\nFrom b Tue 11:00:00\nSubject: 2\n\nend\n"
    )
    items = read_mbox(box, spam=True)
    assert [item.read() for item in items] == [
        b"From a Mon 10:00:00\nSubject: 1\n\nFrom here on text\n>From b\n\n",
        b"From b Tue 11:00:00\nSubject: 2\n\nend\n",
    ]


def test_mbox_lines_longer_than_any_buffer(tmp_path: Path) -> None:
    box = tmp_path / "box"
    long = b"x" * 200_000
    box.write_bytes(b"From a 10:00\n\n" + long + b"\nFrom b 11:00\n\n\nFrom c 12:00\n\n" + long + b"\n\n")
    first, second = read_mbox(box, spam=True)
    assert first.read() == b"From a 10:00\n\n" + long + b"\nFrom b 11:00\n\n\n"
    assert second.read().startswith(b"From c 12:00\n")


@pytest.mark.parametrize("octets", [bytes(300_000), b"From: a message\n\nalone\n"])
def test_a_file_that_is_no_mbox_is_named(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "box").write_bytes(octets)
    with pytest.raises(CorpusError, match="box: is no mbox file"):
        read_mbox(tmp_path / "box", spam=True)


@given(
    st.lists(
        st.sampled_from([b"From a 10:00\n", b"From b\n", b"\n", b"\r\n", b"text\n", b">From a 10:00\n", b"\0", b"x"])
    )
)
def test_mbox_messages_join_to_the_file(pieces: list[bytes]) -> None:
    octets = b"From first 10:00\n" + b"".join(pieces)
    with tempfile.NamedTemporaryFile() as file:
        file.write(octets)
        file.flush()
        items = read_mbox(Path(file.name), spam=True)
        assert b"".join(item.read() for item in items) == octets
        assert all(item.read().startswith(b"From ") for item in items)


def test_mbox_in_linear_time(tmp_path: Path) -> None:
    def prepare(size: int) -> Callable[[], object]:
        file = tmp_path / str(size)
        file.write_bytes(b"From a 10:00\n\n" * size + b"From \n" * size + b"x" * 10 * size)
        return lambda: read_mbox(file, spam=True)

    assert_growth(prepare, 2_000, 20_000, 20)


def test_an_empty_mbox_has_no_mail(tmp_path: Path) -> None:
    (tmp_path / "box").touch()
    assert read_mbox(tmp_path / "box", spam=True) == []


def test_order_of_dates_keeps_undated_messages_in_place() -> None:
    items = [
        Item(False, name, Path(name), date)
        for name, date in [("a", "2026-02"), ("b", ""), ("c", "2026-01"), ("d", "2026-03")]
    ]
    assert "".join(item.path for item in by_date(items)) == "cabd"


def test_digest_depends_on_label_and_content(tmp_path: Path) -> None:
    items = read_index(write_collection(tmp_path, 4), tmp_path)
    before = digest(items)
    assert before == digest(items)
    assert before == digest(items, [hashlib.sha256(item.read()).digest() for item in items])
    items[0].file.write_bytes(b"Subject: other\n\n")
    assert digest(items) != before
