"""One writer of a snapshot at a time; what a killed one has left is gone with the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.directory.snapshot import Header, write_snapshot
from filterd.directory.table import Builder
from filterd.directory_store import BusyError, only_writer, snapshot_path


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = snapshot_path(tmp_path, "ad")
    with only_writer(path):
        with pytest.raises(BusyError, match="another sync just now"), only_writer(path):
            pass
        with only_writer(snapshot_path(tmp_path, "other")):
            pass
    with only_writer(path):
        pass


def test_what_a_killed_writer_has_left_does_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = snapshot_path(tmp_path, "ad")
    write_snapshot(path, Header("ldap", "ad", 1, 1), Builder().table())
    others = [
        path.with_name("ldap-ad2.snapshot"),
        path.with_name(".ldap-ad2.snapshot.1.ab"),
        path.with_name("site-key"),
    ]
    for other in others:
        other.write_bytes(b"x")
    with monkeypatch.context() as patch:  # killed before the rename
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            write_snapshot(path, Header("ldap", "ad", 2, 2), Builder().table())
    assert len(list(path.parent.glob(".ldap-ad.snapshot.*"))) == 1
    with only_writer(path):
        assert not list(path.parent.glob(".ldap-ad.snapshot.*"))
    assert path.exists()
    assert all(other.exists() for other in others)
