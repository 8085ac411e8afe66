"""Owns the contract of directory.values.Directory: the same tests run on the double and on every source, alone and in a chain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from filterd.adapters.directory import ChainDirectory
from filterd.adapters.directory_backend import DirectoryBackend
from filterd.adapters.directory_file import FileBackend, plain_key, read_hashed, read_recipients
from filterd.adapters.directory_snapshot import SnapshotBackend
from filterd.deadline import Deadline
from filterd.directory.keys import address_key
from filterd.directory.values import AcceptedDomain, Directory, RecipientAnswer, RecipientStatus
from filterd.errors import TemporaryError
from tests.support.directory import SITE_KEY, Steps, entry, put, put_hashed, put_snapshot
from tests.support.doubles import ScriptedDirectory

KNOWN, UNKNOWN, FOREIGN = RecipientStatus.KNOWN, RecipientStatus.UNKNOWN, RecipientStatus.FOREIGN_DOMAIN
PEOPLE = ("anna@example.org", "Bob.Jones@Example.org")


@dataclass
class House:
    """A directory, and how its source learns who there is (None: it breaks)."""

    directory: Directory
    learn: Callable[[tuple[str, ...] | None], None]


def file_house(folder: Path) -> House:
    path = folder / "recipients.txt"
    source = FileBackend("file", path, read_recipients, plain_key, Steps())
    return House(chained(source), lambda people: put(path, "\n".join(people) if people else "no address"))


def hashed_house(folder: Path) -> House:
    path = folder / "recipients.hashed"
    read = partial(read_hashed, site_key=SITE_KEY)
    source = FileBackend("hashed_file", path, read, partial(address_key, SITE_KEY), Steps())
    return House(chained(source), lambda people: put_hashed(path, people) if people else put(path, "damaged"))


def snapshot_house(folder: Path) -> House:
    path = folder / "ldap-ad.snapshot"
    source = SnapshotBackend("ldap ad", path, SITE_KEY, warn_hours=24, clock=Steps())

    def learn(people: tuple[str, ...] | None) -> None:
        if people is None:
            put(path, "damaged")
        else:
            put_snapshot(path, [entry(address) for address in people], name="ad")

    return House(chained(source), learn)


def long_chain(folder: Path) -> House:
    """Anna is known to one source, Bob to another."""
    paths = [folder / "recipients.txt", folder / "push.snapshot"]
    sources = [
        FileBackend("file", paths[0], read_recipients, plain_key, Steps()),
        SnapshotBackend("push", paths[1], SITE_KEY, warn_hours=24, clock=Steps()),
    ]

    def learn(people: tuple[str, ...] | None) -> None:
        if people is None:
            for path in paths:
                put(path, "damaged")
        else:
            put(paths[0], people[0])
            put_snapshot(paths[1], [entry(address) for address in people[1:]])

    return House(chained(*sources), learn)


def chained(*sources: DirectoryBackend) -> ChainDirectory:
    return ChainDirectory([AcceptedDomain("example.org")], sources)


def double(folder: Path) -> House:
    directory = ScriptedDirectory(down=True)

    def learn(people: tuple[str, ...] | None) -> None:
        if people is not None:
            directory.down = False
            everybody = {"anna", "bob.jones", "carl"}
            directory.unknown = frozenset(everybody - {name.partition("@")[0].lower() for name in people})

    return House(directory, learn)


HOUSES = [double, file_house, hashed_house, snapshot_house, long_chain]


@pytest.fixture(params=HOUSES, ids=lambda build: build.__name__)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    build: Callable[[Path], House] = request.param
    return build(tmp_path)


async def settled(house: House, local: str, domain: str = "example.org") -> RecipientAnswer:
    """The answer once what has changed was taken over."""
    if isinstance(house.directory, ChainDirectory):
        await house.directory.refresh()
    return await house.directory.look_up(local, domain, Deadline.after(30))


def ask(house: House, local: str, domain: str = "example.org") -> RecipientStatus:
    return asyncio.run(settled(house, local, domain)).status


@pytest.mark.parametrize(
    ("local", "domain", "status"),
    [
        ("anna", "example.org", KNOWN),
        ("ANNA", "example.org", KNOWN),
        ("bob.jones", "example.org", KNOWN),
        ("carl", "example.org", UNKNOWN),
        ("postmaster", "example.org", KNOWN),
        ("anna", "elsewhere.example", FOREIGN),
        ("anna", "[192.0.2.1]", FOREIGN),
    ],
)
def test_who_is_known(house: House, local: str, domain: str, status: RecipientStatus) -> None:
    house.learn(PEOPLE)
    assert ask(house, local, domain) is status


def test_a_source_that_could_never_be_read_is_a_temporary_failure_until_it_can(house: House) -> None:
    with pytest.raises(TemporaryError) as failed:
        ask(house, "anna")
    assert failed.value.kind == "directory"
    house.learn(PEOPLE)
    assert ask(house, "anna") is KNOWN


def test_a_change_is_taken_over_and_what_is_broken_is_not(house: House) -> None:
    house.learn(PEOPLE)
    assert ask(house, "carl") is UNKNOWN
    house.learn((*PEOPLE, "carl@example.org"))
    assert ask(house, "carl") is KNOWN
    house.learn(None)
    assert ask(house, "carl") is KNOWN
    assert ask(house, "anna") is KNOWN


def test_who_has_just_been_written_down_is_not_refused(house: House) -> None:
    house.learn(PEOPLE)
    assert ask(house, "carl") is UNKNOWN
    house.learn((*PEOPLE, "carl@example.org"))
    answer = asyncio.run(house.directory.look_up("carl", "example.org", Deadline.after(30)))
    assert answer.status is KNOWN


def test_accepted_domains_are_known_from_the_beginning(house: House) -> None:
    assert house.directory.domains() == (AcceptedDomain("example.org"),)
    assert house.directory.people() == ()


def test_senders_of_somebody_who_has_none_are_nothing(house: House) -> None:
    house.learn(PEOPLE)
    assert house.directory.sender_list("anna", "example.org") is None
    assert house.directory.sender_list("carl", "elsewhere.example") is None


def test_a_failure_of_the_source_is_no_answer_even_for_many_at_once(house: House) -> None:
    async def scene() -> list[object]:
        asked = (house.directory.look_up("anna", "example.org", Deadline.after(30)) for _ in range(20))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert all(isinstance(answer, TemporaryError) for answer in asyncio.run(scene()))
