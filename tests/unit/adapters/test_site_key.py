"""The site's key: made once, the same for everybody who asks, never silently another one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from filterd.adapters.site_key import path_of, site_key
from filterd.errors import ConfigError


def test_it_is_made_once_and_only_the_service_reads_it(tmp_path: Path) -> None:
    first = site_key(tmp_path)
    assert (len(first), site_key(tmp_path)) == (32, first)
    assert path_of(tmp_path).stat().st_mode & 0o077 == 0
    assert path_of(tmp_path).parent.stat().st_mode & 0o077 == 0
    assert site_key(tmp_path / "other") != first


def test_many_who_ask_at_once_get_the_same(tmp_path: Path) -> None:
    together, found = threading.Barrier(8), []

    def ask() -> None:
        together.wait(10)
        found.append(site_key(tmp_path))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(set(found)) == 1
    assert len(found) == 8
    assert [entry.name for entry in path_of(tmp_path).parent.iterdir()] == ["site-key"]


@pytest.mark.parametrize("content", ["", "no key", "00" * 31, "00" * 33, "zz" * 32])
def test_what_is_no_key_is_said_with_a_remedy(content: str, tmp_path: Path) -> None:
    path_of(tmp_path).parent.mkdir()
    path_of(tmp_path).write_text(content)
    with pytest.raises(ConfigError, match=r"site-key: expected 64 hexadecimal digits; restore it"):
        site_key(tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "directory").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="site key cannot be read or made"):
        site_key(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for somebody else")
def test_what_root_makes_belongs_to_the_service(tmp_path: Path) -> None:
    os.chown(tmp_path, 4321, 4322)
    site_key(tmp_path)
    for made in (path_of(tmp_path), path_of(tmp_path).parent):
        assert (made.stat().st_uid, made.stat().st_gid) == (4321, 4322)
