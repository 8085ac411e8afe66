"""A Maildir file appears whole, in new/, and nothing is left in tmp/."""

from __future__ import annotations

from pathlib import Path

from sandbox.maildir import deliver, make_maildir


def test_a_delivered_message_stands_in_new_octet_for_octet(tmp_path: Path) -> None:
    make_maildir(tmp_path / "mail")
    make_maildir(tmp_path / "mail")
    paths = [deliver(tmp_path / "mail", octets) for octets in (b"A: b\r\n\r\n\xff\x00", b"")]
    assert [path.read_bytes() for path in paths] == [b"A: b\r\n\r\n\xff\x00", b""]
    assert sorted((tmp_path / "mail" / "new").iterdir()) == sorted(paths)
    assert not list((tmp_path / "mail" / "tmp").iterdir())
