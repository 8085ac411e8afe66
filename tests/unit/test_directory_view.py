"""What people are told of an address and of the sources."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path
from typing import Any

import pytest

from filterd.adapters.directory import ChainDirectory
from filterd.adapters.directory_snapshot import SnapshotBackend
from filterd.adapters.site_key import site_key
from filterd.config import Config, parse_config
from filterd.directory.keys import address_key
from filterd.directory.values import AcceptedDomain, DomainType, Thresholds
from filterd.directory_view import AddressView, BadAddressError, DirectoryView, json_of
from tests.support.directory import Steps, entry, put_snapshot

DOMAINS = [AcceptedDomain("example.org"), AcceptedDomain("partner.example", DomainType.EXTERNAL_RELAY)]


def configuration(folder: Path, **tables: Any) -> Config:
    given: dict[str, Any] = {
        "server": {"hostname": "filter.example.net", "state_dir": "state"},
        "push": {"enabled": True},
    }
    return parse_config({**given, **tables}, folder)


def snapshot_of(config: Config) -> Path:
    return config.state_dir / "directory" / "push.snapshot"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = configuration(tmp_path)
    key = site_key(made.state_dir)
    safe = [address_key(key, "@shop.example")]
    people = [
        entry("anna@example.org", site_key=key, thresholds=Thresholds(junk=3), safe=safe),
        entry("all@example.org", site_key=key, internal_only=True),
    ]
    put_snapshot(snapshot_of(made), people, domains=DOMAINS, age_hours=2)
    return made


def told(config: Config, address: str, sender: str | None = None) -> AddressView:
    return asyncio.run(DirectoryView(config).test(address, sender))


@pytest.mark.parametrize(
    ("address", "status", "domain_type", "reply"),
    [
        ("<Anna@Example.org>", "known", "authoritative", "250 2.1.5"),
        ("all@example.org", "internal_only", "authoritative", "550 5.7.1"),
        ("carl@example.org", "unknown", "authoritative", "550 5.1.1"),
        ("x@partner.example", "known", "external_relay", "250 2.1.5"),
        ("x@elsewhere.example", "foreign_domain", "", "550 5.7.1 Unable to relay"),
        ("postmaster@filter.example.net", "known", "authoritative", "250 2.1.5"),
        ("anna@filter.example.net", "foreign_domain", "", "550 5.7.1"),
    ],
)
def test_what_is_known_and_what_a_stranger_is_told(
    config: Config, address: str, status: str, domain_type: str, reply: str
) -> None:
    found = told(config, address)
    assert (found.status, found.domain_type) == (status, domain_type)
    assert found.reply.startswith(reply)
    assert found.is_known == (status in ("known", "internal_only"))


def test_who_is_unknown_is_told_how_old_the_list_is(config: Config) -> None:
    """Somebody who was made an hour ago is not in a list of two hours ago."""
    found = told(config, "carl@example.org")
    assert found.backend == "push"
    assert 7100 < json_of(found)["age_seconds"] < 7300
    key = site_key(config.state_dir)
    older = config.state_dir / "directory" / "older.snapshot"
    put_snapshot(older, [entry("dora@example.org", site_key=key)], domains=DOMAINS, age_hours=9)
    sources = [
        SnapshotBackend(name, path, key, warn_hours=99)
        for name, path in (("push", snapshot_of(config)), ("ldap hq", older))
    ]
    view = DirectoryView(config, ChainDirectory((), sources))
    both = json_of(asyncio.run(view.test("carl@example.org")))
    assert both["backend"] == "push, ldap hq"
    assert 9 * 3600 - 100 < both["age_seconds"] < 9 * 3600 + 100, "the oldest of those that were asked"
    for address in ("x@partner.example", "x@elsewhere.example"):  # not looked up
        assert told(config, address).as_of_ms is None


def test_the_mailbox_and_its_word_about_a_sender(config: Config) -> None:
    found = told(config, "anna@example.org", "news@SHOP.example")
    assert (found.thresholds.junk, found.sender_word, found.has_senders, found.backend) == (3, "safe", True, "push")
    assert told(config, "anna@example.org", "x@other.example").sender_word is None
    nobody = told(config, "all@example.org", "x@other.example")
    assert (nobody.sender_word, nobody.has_senders) == (None, False)
    document = json_of(found)
    assert 7100 < document["age_seconds"] < 7300
    assert document["known"] is True
    assert document["thresholds"] == {"junk": 3, "quarantine": None, "reject": None, "delete": None}


def test_what_cannot_be_known_now_is_said_with_the_reason(tmp_path: Path) -> None:
    config = configuration(tmp_path, recipients={"accepted_domains": ["example.org"]})
    for address in ("anna@example.org", "x@elsewhere.example"):
        found = told(config, address)
        assert (found.status, found.is_known) == ("unavailable", False)
        assert "push" in found.problem
        assert found.reply.startswith("451 4.4.3")


@pytest.mark.parametrize("address", ["", "anna", "anna@", "a b@example.org", "x" * 1000])
def test_what_is_no_address_is_refused(config: Config, address: str) -> None:
    with pytest.raises(BadAddressError, match="address: expected"):
        told(config, address)
    with pytest.raises(BadAddressError, match="sender: expected"):
        told(config, "anna@example.org", "x")


def test_a_report_address_is_not_for_strangers(config: Config, tmp_path: Path) -> None:
    reports = configuration(tmp_path, reports={"domain": "reports.example.org"})
    assert told(reports, "spam@reports.example.org").reply.startswith("550")


def test_sources_say_how_many_how_old_and_whether_they_are_being_written(config: Config) -> None:
    (source,) = asyncio.run(DirectoryView(config).status())
    assert (source.status.recipients, source.status.domains, source.status.problem, source.busy) == (2, 2, "", False)
    with snapshot_of(config).with_name("push.snapshot.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (busy,) = asyncio.run(DirectoryView(config).status())
    assert busy.busy
    assert busy.json()["busy"] is True


def test_a_view_that_is_kept_follows_the_files(config: Config) -> None:
    key = site_key(config.state_dir)
    source = SnapshotBackend("push", snapshot_of(config), key, warn_hours=24, clock=Steps())

    async def scene() -> list[str]:
        view = DirectoryView(config, ChainDirectory((), [source]))
        before = await view.test("new@example.org")
        put_snapshot(snapshot_of(config), [entry("new@example.org", site_key=key)], domains=DOMAINS)
        after = await view.test("new@example.org")
        await view.close()
        return [before.status, after.status]

    assert asyncio.run(scene()) == ["unknown", "known"]
