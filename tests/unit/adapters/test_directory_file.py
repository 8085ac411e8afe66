"""Recipients from a file: known, unknown, foreign; changes are taken over, a broken file keeps the last good state."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filterd.adapters.directory_file import FileDirectory, read_recipients
from filterd.config import RecipientsConfig
from filterd.deadline import Deadline
from filterd.errors import ConfigError, TemporaryError
from filterd.ports import RecipientStatus


class Steps:
    """A clock that goes on by 10 seconds at every look."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


async def settled(directory: FileDirectory, local: str, domain: str = "example.org") -> RecipientStatus:
    """The answer after a reading that was under way has ended."""
    await directory.look_up(local, domain, Deadline.after(5))
    if directory._reading is not None:
        await directory._reading
    directory._next_look = float("inf")
    status = (await directory.look_up(local, domain, Deadline.after(5))).status
    directory._next_look = float("-inf")
    return status


def configured(path: Path | None) -> FileDirectory:
    config = RecipientsConfig(accepted_domains=("example.org",), relay_domains=("relay.example",), file=path)
    return FileDirectory(config, Steps())


def test_who_is_known(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("# people\nAnna@Example.org  # boss\n\nbob@example.org\n")

    async def scene() -> list[RecipientStatus]:
        directory = configured(tmp_path / "r")
        asked = [
            ("anna", "example.org"),
            ("ANNA", "example.org"),
            ("carl", "example.org"),
            ("postmaster", "example.org"),
        ]
        asked += [("anyone", "relay.example"), ("anna", "elsewhere.example")]
        return [await settled(directory, local, domain) for local, domain in asked]

    known, unknown, foreign = RecipientStatus.KNOWN, RecipientStatus.UNKNOWN, RecipientStatus.FOREIGN_DOMAIN
    assert asyncio.run(scene()) == [known, known, unknown, known, known, foreign]


def test_without_a_file_every_recipient_of_an_accepted_domain_is_known() -> None:
    answer = asyncio.run(configured(None).look_up("anyone", "example.org", Deadline.after(5)))
    assert answer.status is RecipientStatus.KNOWN


def test_a_change_is_taken_over_and_a_broken_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text("anna@example.org\n")

    async def scene() -> None:
        directory = configured(path)
        assert await settled(directory, "bob") is RecipientStatus.UNKNOWN
        path.write_text("anna@example.org\nbob@example.org\n")
        assert await settled(directory, "bob") is RecipientStatus.KNOWN
        path.write_text("no address\n")
        assert await settled(directory, "bob") is RecipientStatus.KNOWN
        path.unlink()
        assert await settled(directory, "bob") is RecipientStatus.KNOWN

    asyncio.run(scene())


def test_a_file_that_was_never_there_is_a_temporary_failure(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError):
        asyncio.run(configured(tmp_path / "none").look_up("anna", "example.org", Deadline.after(5)))


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("anna@example.org\nanna example.org\n")
    with pytest.raises(ConfigError, match=r"r:2: expected an address"):
        read_recipients(tmp_path / "r")
