"""A Maildir's labels are what its owner did; what nobody judged is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.maildir import is_maildir, read_maildir, read_one
from training.readers import CorpusError


def maildir(root: Path, *names: str) -> Path:
    for folder in {name.rpartition("/")[0].rpartition("/")[0] for name in names} | {""}:
        for part in ("cur", "new", "tmp"):
            (root / folder / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_bytes(b"Subject: x\n\n")
    return root


def test_one_folder_under_one_label(tmp_path: Path) -> None:
    box = maildir(
        tmp_path / "md",
        "cur/1:2,S",
        "cur/2:2,",
        "cur/3:2,DS",
        "cur/4:2,ST",
        "new/5",
        "tmp/6",
        "cur/.x",
        ".Junk/cur/7:2,S",
    )
    assert [item.path for item in read_one(box, spam=True)] == ["md/cur/1:2,S", "md/cur/2:2,", "md/new/5"]
    assert all(item.spam for item in read_one(box, spam=True))


def test_whole_maildir(tmp_path: Path) -> None:
    box = maildir(
        tmp_path / "anna",
        *("cur/1:2,S", "cur/2:2,", "new/3", "cur/4:2,RS"),
        *(".Junk/cur/5:2,", ".Junk/new/6", ".Junk/cur/7:2,T", ".INBOX.Spam/cur/8:2,S", ".Junk E-mail/new/9"),
        *(".Lists.Python/cur/10:2,S", ".Lists.Python/new/11"),
        *(".Sent/cur/12:2,S", ".Drafts/cur/13:2,S", ".Trash/cur/14:2,S", ".Deleted Items/cur/15:2,S"),
    )
    items = read_maildir(box)
    assert {item.path for item in items if not item.spam} == {
        "anna/cur/1:2,S",
        "anna/cur/4:2,RS",
        "anna/.Lists.Python/cur/10:2,S",
    }
    assert {item.path for item in items if item.spam} == {
        "anna/.Junk/cur/5:2,",
        "anna/.Junk/new/6",
        "anna/.INBOX.Spam/cur/8:2,S",
        "anna/.Junk E-mail/new/9",
    }
    assert {item.folder for item in items} == {"anna"}


def test_order_is_always_the_same(tmp_path: Path) -> None:
    box = maildir(tmp_path / "md", *(f"cur/{number}:2,S" for number in (3, 1, 2)), ".Junk/new/9", ".A/cur/4:2,S")
    assert [item.path for item in read_maildir(box)] == [
        "md/cur/1:2,S",
        "md/cur/2:2,S",
        "md/cur/3:2,S",
        "md/.A/cur/4:2,S",
        "md/.Junk/new/9",
    ]


def test_what_is_no_maildir_is_named(tmp_path: Path) -> None:
    assert not is_maildir(tmp_path)
    for read in (read_maildir, lambda folder: read_one(folder, spam=True)):
        with pytest.raises(CorpusError, match="no Maildir"):
            read(tmp_path)
