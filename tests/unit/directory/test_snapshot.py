"""The file of a directory's recipients: whole or not at all, never believed when damaged, no address in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.directory.keys import address_key
from filterd.directory.snapshot import BadSnapshotError, Header, Snapshot, sender_candidates, write_snapshot
from filterd.directory.table import Builder, Entry, Table
from filterd.directory.values import AcceptedDomain, DomainType, ProtectedPerson

KEY = b"k" * 32
HEADER = Header(
    backend="ldap",
    name="ad",
    read_ms=1_700_000_000_000,
    full_ms=1_600_000_000_000,
    domains=(AcceptedDomain("example.org"), AcceptedDomain("town.example", DomainType.INTERNAL_RELAY, True)),
    people=(ProtectedPerson("Erika Müller", ("erika@example.org",)),),
    servers={"dc1.example.org": {"invocation": "ab", "usn": "17"}},
    digest="d",
    notes=("no right to read msExchSafeSendersHash",),
)


def made(count: int = 3) -> Table:
    builder = Builder()
    for number in range(count):
        builder.add(Entry(number.to_bytes(16, "big"), (address_key(KEY, f"u{number}@example.org"),)))
    return builder.table()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "new" / "s", HEADER, made())
    opened = Snapshot(tmp_path / "new" / "s")
    assert opened.header == HEADER
    assert len(opened) == 3
    assert opened.find(address_key(KEY, "U2@EXAMPLE.org")) is not None
    assert opened.find(address_key(KEY, "u3@example.org")) is None
    again = opened.table()
    assert (len(again), again.missing_from(made())) == (3, 0)


def test_an_empty_directory_is_one(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s", Header("push", "", 1, 1), Builder().table())
    assert len(Snapshot(tmp_path / "s")) == 0
    assert Snapshot(tmp_path / "s").find(b"x" * 16) is None
    assert len(Snapshot(tmp_path / "s").table().with_changes([Entry(b"i" * 16, (b"k" * 16,))])) == 1


def test_nobody_else_can_read_it_and_it_holds_no_address(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s", Header("push", "", 1, 1), made())
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0
    octets = (tmp_path / "s").read_bytes()
    assert b"example.org" not in octets
    assert KEY not in octets


def test_who_has_it_open_keeps_it(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s", HEADER, made(3))
    old = Snapshot(tmp_path / "s")
    write_snapshot(tmp_path / "s", HEADER, made(5))
    assert (len(old), len(Snapshot(tmp_path / "s"))) == (3, 5)
    assert old.find(address_key(KEY, "u1@example.org")) is not None
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]


def test_a_write_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_snapshot(tmp_path / "s", HEADER, made(3))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_snapshot(tmp_path / "s", HEADER, made(5))
    assert len(Snapshot(tmp_path / "s")) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Snapshot(tmp_path / "s")


@given(st.data())
def test_a_damaged_file_is_never_believed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damaged") / "s"
    write_snapshot(path, HEADER, made(4))
    octets = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at] ^= data.draw(st.integers(1, 255))
    else:
        del octets[data.draw(st.integers(0, len(octets) - 1)) :]
    path.write_bytes(octets)
    with pytest.raises(BadSnapshotError, match="again"):
        Snapshot(path)


def test_a_file_whose_digest_is_right_and_whose_parts_are_not(tmp_path: Path) -> None:
    import hashlib
    import json

    for document in ({}, {"header": {}}, {"keys": -1, "records": 1, "senders": 0, "sender_bytes": 16}, []):
        head = json.dumps(document).encode()
        octets = b"filterd directory 1\n" + len(head).to_bytes(8, "little") + head
        (tmp_path / "s").write_bytes(octets + hashlib.sha256(octets).digest())
        with pytest.raises(BadSnapshotError):
            Snapshot(tmp_path / "s")


def test_a_sender_is_meant_by_itself_or_by_its_domain() -> None:
    assert sender_candidates(KEY, "Anna@Example.ORG") == (
        address_key(KEY, "anna@example.org"),
        address_key(KEY, "@example.org"),
    )


@pytest.mark.parametrize(
    "head",
    [
        b"{}",
        b"[]",
        b"null",
        b'{"header": {}, "keys": 1, "records": 0, "senders": 0, "sender_bytes": 16}',
        b'{"header": null, "keys": -1, "records": 0, "senders": 0, "sender_bytes": 16}',
        b"[" * 100_000,
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, head: bytes) -> None:
    body = b"filterd directory 1\n" + len(head).to_bytes(8, "little") + head
    path = tmp_path / "x.snapshot"
    path.write_bytes(body + hashlib.sha256(body).digest())
    with pytest.raises(BadSnapshotError):
        Snapshot(path)


def test_a_header_that_nobody_would_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "s"
    write_snapshot(path, Header("ldap", "ad", 1, 1), Builder().table())
    people = (ProtectedPerson("x" * 17_000_000),)
    with pytest.raises(BadSnapshotError, match="the old list stays"):
        write_snapshot(path, Header("ldap", "ad", 2, 2, people=people), Builder().table())
    assert Snapshot(path).header.read_ms == 1
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
