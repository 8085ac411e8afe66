"""Recipients from a snapshot: what a mailbox has beside its address, when it is believed, and what is said of its age."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from filterd.adapters import safelist_store
from filterd.adapters.directory_snapshot import SnapshotBackend, VerifiedVariant, header_of
from filterd.adapters.safelist_store import Calibration
from filterd.deadline import Deadline
from filterd.directory.keys import address_key, key_name
from filterd.directory.safelist import VARIANTS, Variant
from filterd.directory.values import (
    AcceptedDomain,
    DomainType,
    ProtectedPerson,
    RecipientAnswer,
    RecipientStatus,
    SenderWord,
    Thresholds,
)
from filterd.errors import TemporaryError
from tests.support.directory import SITE_KEY, Steps, entry, put, put_snapshot

VARIANT = VARIANTS[5]


def backend(path: Path, variant: Variant | None = None, **options: bool) -> SnapshotBackend:
    return SnapshotBackend("ldap ad", path, SITE_KEY, warn_hours=24, variant=lambda: variant, clock=Steps(), **options)


def find(source: SnapshotBackend, local: str, domain: str = "example.org") -> RecipientAnswer | None:
    found = asyncio.run(source.find(local, domain, Deadline.after(30)))
    assert found is None or isinstance(found, RecipientAnswer)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "directory" / "ldap-ad.snapshot"


def test_an_answer_says_who_has_it_from_when_and_what_the_mailbox_wants(path: Path) -> None:
    limits = Thresholds(junk=3, reject=8)
    people = [
        entry("anna@example.org", "a.smith@example.org", thresholds=limits),
        entry("all@example.org", internal_only=True),
    ]
    put_snapshot(path, people, name="ad", age_hours=2)
    source = backend(path)
    anna = find(source, "A.Smith")
    assert anna is not None
    assert (anna.status, anna.backend, anna.thresholds) == (RecipientStatus.KNOWN, "ldap ad", limits)
    assert anna.as_of_ms is not None
    assert abs(time.time() - 7200 - anna.as_of_ms / 1000) < 60
    internal = find(source, "all")
    assert internal is not None
    assert internal.status is RecipientStatus.INTERNAL_ONLY
    assert find(source, "carl") is None
    assert source.at_hand("anna", "example.org") == anna
    assert source.at_hand("carl", "example.org") is None


def test_without_a_snapshot_nothing_is_known_and_the_remedy_is_named(path: Path) -> None:
    source = backend(path)
    with pytest.raises(TemporaryError, match="directory sync") as failed:
        find(source, "anna")
    assert failed.value.kind == "directory"
    assert source.domains() is None, "which domains are accepted is not known either"
    assert source.at_hand("anna", "example.org") is None
    assert not source.status().usable


def test_where_domains_are_not_read_none_are_missing(path: Path) -> None:
    assert backend(path, gives_domains=False).domains() == ()
    put_snapshot(path, [entry("anna@example.org")], name="ad", domains=[AcceptedDomain("example.org")])
    assert backend(path, gives_domains=False).domains() == ()
    put_snapshot(path, [entry("anna@example.org")], name="ad")
    assert backend(path).domains() == (), "a directory that does not say"


def test_domains_and_people_follow_the_snapshot(path: Path) -> None:
    put_snapshot(path, [entry("anna@example.org")], name="ad", domains=[AcceptedDomain("example.org")])
    source = backend(path)
    relay = AcceptedDomain("relay.example", DomainType.INTERNAL_RELAY)
    boss = ProtectedPerson("Erika Mustermann", ("erika@example.org",))
    put_snapshot(path, [entry("anna@example.org")], name="ad", domains=[relay], people=[boss])
    asyncio.run(source.refresh())
    assert (source.domains(), source.people()) == ((relay,), (boss,))


def test_a_damaged_snapshot_leaves_the_old_one_in_use(path: Path) -> None:
    put_snapshot(path, [entry("anna@example.org")], name="ad")
    source = backend(path)
    octets = bytearray(path.read_bytes())
    octets[-40] ^= 1
    beside = path.with_name("new")
    beside.write_bytes(octets)
    beside.rename(path)
    asyncio.run(source.refresh())
    assert find(source, "anna") is not None
    status = source.status()
    assert "damaged" in status.problem
    assert status.usable


def test_a_snapshot_under_another_key_is_not_believed(path: Path) -> None:
    """Nobody would be found in it, and all mail be refused."""
    put_snapshot(path, [entry("anna@example.org")], name="ad", key=key_name(SITE_KEY))
    source = backend(path)
    put_snapshot(path, [entry("anna@example.org", site_key=bytes(32))], name="ad", key=key_name(bytes(32)))
    asyncio.run(source.refresh())
    assert find(source, "anna") is not None, "the old one stays in use"
    assert "sync again" in source.status().problem
    with pytest.raises(TemporaryError, match=f"made with the site key {key_name(bytes(32))}"):
        find(backend(path), "anna")


def test_an_exchanged_key_is_taken_over_with_the_list_under_it(path: Path) -> None:
    """Else whoever is new would be refused until somebody thinks of a reload."""
    put_snapshot(path, [entry("anna@example.org")], name="ad", key=key_name(SITE_KEY))
    file = {"key": SITE_KEY}
    source = SnapshotBackend("ldap ad", path, SITE_KEY, warn_hours=24, clock=Steps(), key_now=lambda: file["key"])
    file["key"] = bytes(32)
    assert find(source, "anna") is not None, "the old list, looked into with its own key"
    both = [entry("anna@example.org", site_key=bytes(32)), entry("new@example.org", site_key=bytes(32))]
    put_snapshot(path, both, name="ad", key=key_name(bytes(32)))
    asyncio.run(source.refresh())
    assert find(source, "anna") is not None
    assert find(source, "new") is not None
    assert source.status().problem == ""


@pytest.mark.parametrize(("age_hours", "is_old"), [(23.0, False), (25.0, True)])
def test_an_old_snapshot_answers_and_says_so(path: Path, age_hours: float, is_old: bool) -> None:
    put_snapshot(path, [entry("anna@example.org")], name="ad", age_hours=age_hours, notes=["something cannot be read"])
    source = backend(path)
    assert find(source, "anna") is not None
    status = source.status()
    assert ("hours old" in status.problem) == is_old
    assert (status.recipients, status.domains, status.usable, status.notes) == (
        1,
        None,
        True,
        ("something cannot be read",),
    )
    asyncio.run(source.refresh())
    age = REGISTRY.get_sample_value("filterd_directory_age_seconds", {"backend": "ldap ad"})
    assert age is not None
    assert abs(age - 3600 * age_hours) < 60
    assert REGISTRY.get_sample_value("filterd_directory_recipients", {"backend": "ldap ad"}) == 1


def test_pushed_senders_are_known_by_their_keys(path: Path) -> None:
    safe = [address_key(SITE_KEY, name) for name in ("news@shop.example", "@partner.example", "both@shop.example")]
    blocked = [address_key(SITE_KEY, name) for name in ("@spam.example", "both@shop.example")]
    put_snapshot(path, [entry("anna@example.org", safe=safe, blocked=blocked)])
    senders = find_senders(backend(path))
    assert senders["News@Shop.example"] is SenderWord.SAFE
    assert senders["anybody@partner.example"] is SenderWord.SAFE
    assert senders["x@spam.example"] is SenderWord.BLOCKED
    assert senders["both@shop.example"] is SenderWord.BLOCKED, "blocked goes before safe"
    assert senders["other@shop.example"] is None


def test_exchanges_hashes_are_read_once_their_form_is_verified(path: Path) -> None:
    safe = [VARIANT.hash("news@shop.example"), VARIANT.hash("@partner.example")]
    put_snapshot(path, [entry("anna@example.org", safe=safe)], name="ad", sender_bytes=4)
    unverified = find(backend(path), "anna")
    assert unverified is not None
    assert unverified.senders is None
    senders = find_senders(backend(path, VARIANT))
    assert senders["news@shop.example"] is SenderWord.SAFE
    assert senders["anybody@partner.example"] is SenderWord.SAFE
    assert senders["x@spam.example"] is None
    other = find_senders(backend(path, VARIANTS[6]))
    assert other["news@shop.example"] is None


def find_senders(source: SnapshotBackend) -> dict[str, SenderWord | None]:
    anna = find(source, "anna")
    assert anna is not None
    assert anna.senders is not None
    asked = "News@Shop.example", "news@shop.example", "anybody@partner.example", "x@spam.example"
    return {name: anna.senders.says(name) for name in (*asked, "both@shop.example", "other@shop.example")}


def test_a_calibration_is_taken_over_while_running(tmp_path: Path) -> None:
    variant = VerifiedVariant(tmp_path, Steps())
    assert variant() is None
    safelist_store.save(tmp_path, Calibration((VARIANT,), ("aa", "bb"), 1, 2))
    assert variant() == VARIANT
    safelist_store.save(tmp_path, Calibration((VARIANT,), ("aa",), 1))
    assert variant() is None, "begun anew"
    safelist_store.path_of(tmp_path).unlink()
    assert variant() is None


def test_no_rcpt_waits_for_a_look_at_the_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    verified = safelist_store.verified

    def noting(state_dir: Path) -> Variant | None:
        threads.append(threading.get_ident())
        return verified(state_dir)

    variant = VerifiedVariant(tmp_path, Steps())
    monkeypatch.setattr(safelist_store, "verified", noting)
    safelist_store.save(tmp_path, Calibration((VARIANT,), ("aa", "bb"), 1, 2))

    async def asked() -> None:
        variant()
        await asyncio.get_running_loop().shutdown_default_executor()  # until the look is over

    asyncio.run(asked())
    assert variant() == VARIANT
    assert threads
    assert threading.get_ident() not in threads


def test_a_header_alone_is_read_when_it_changes_and_kept_when_it_breaks(path: Path) -> None:
    assert header_of(path) is None
    put_snapshot(path, [entry("anna@example.org")], name="ad", domains=[AcceptedDomain("example.org")])
    header = header_of(path)
    assert header is not None
    assert header_of(path) is header
    put(path, "damaged")
    assert header_of(path) is header
    put_snapshot(path, [entry("anna@example.org")], name="ad", domains=[AcceptedDomain("other.example")])
    changed = header_of(path)
    assert changed is not None
    assert changed.domains == (AcceptedDomain("other.example"),)
