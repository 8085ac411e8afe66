"""A pushed list counts when it is whole, newer, and drops no more than it may; until then the old one does."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd import pushed_files
from filterd.directory.domains import AcceptedDomains
from filterd.directory.keys import address_key, key_name
from filterd.directory.snapshot import Snapshot, sender_candidates
from filterd.directory.table import Entry
from filterd.directory.values import AcceptedDomain, DomainType, SenderWord, Thresholds
from filterd.pushed_files import OPEN_MS, Declared, PushRefusedError, UnknownPushError
from filterd.pushing import Committed, PushBusyError, Pushes, sender_key
from tests.support.sideservice import make_config

KEY = bytes(range(32))
DOMAIN = AcceptedDomain("example.org")


class House:
    """A node with a clock that stands still."""

    def __init__(self, folder: Path, **push: Any) -> None:
        self.now = 1_800_000_000.0
        self.config = make_config(folder, push={"enabled": True, **push})
        self.folder = folder / "directory"
        self.pushes = Pushes(self.config, lambda: self.now)

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self.folder / "push.snapshot")

    def begin(self, names: Sequence[str], parts: int = 1, digest: str = "", **more: Any) -> str:
        domains = more.pop("domains", (DOMAIN,))
        declared = Declared(digest or "".join(names), parts, len(names), domains, **more)
        identity = self.pushes.begin(declared)
        assert identity is not None
        return identity

    def push(self, names: Sequence[str], accept_drop: bool = False, under: bytes = b"", **more: Any) -> Committed:
        identity = self.begin(names, **more)
        self.pushes.add(identity, 1, entries(names, under or KEY))
        return self.pushes.commit(identity, accept_drop)

    def names(self, asked: Sequence[str]) -> list[str]:
        snapshot = self.snapshot
        return [name for name in asked if snapshot.find(key_of(name)) is not None]

    def left(self) -> list[str]:
        return sorted(
            path.name for path in self.folder.glob("*") if path.name not in ("site-key", "push.snapshot.lock")
        )


def key_of(name: str, under: bytes = KEY) -> bytes:
    return address_key(under, f"{name}@example.org")


def entries(names: Sequence[str], under: bytes = KEY) -> list[Entry]:
    return [Entry(address_key(KEY, f"id {name}"), (key_of(name, under),)) for name in names]


def many(count: int, first: int = 0) -> list[str]:
    return [f"user{number}" for number in range(first, first + count)]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_list_counts_once_it_is_committed(house: House) -> None:
    identity = house.begin(many(3), parts=2, people=("Anna Example",))
    assert house.pushes.add(identity, 2, entries(["user2"])) == 1
    assert house.pushes.add(identity, 1, entries(many(2))) == 2
    assert not (house.folder / "push.snapshot").exists()
    assert house.pushes.commit(identity) == Committed(3, 3, 0)
    assert house.names(many(5)) == many(3)
    header = house.snapshot.header
    assert (header.backend, header.domains, header.read_ms) == ("push", (DOMAIN,), int(house.now * 1000))
    assert [(person.name, person.addresses) for person in header.people] == [("Anna Example", ())]
    assert house.left() == ["push.snapshot"]


def test_what_is_known_of_a_recipient_arrives(house: House) -> None:
    entry = Entry(
        bytes(16),
        (key_of("anna"), key_of("anna.example")),
        internal_only=True,
        thresholds=Thresholds(junk=4, reject=7),
        safe=(sender_key(KEY, "Friend@Partner.example"),),
        blocked=(sender_key(KEY, "spam.example"), address_key(KEY, "@worse.example")),
    )
    identity = house.begin(["anna", "bob"], parts=2)
    house.pushes.add(identity, 1, entries(["bob"]))
    house.pushes.add(identity, 2, [entry])
    house.pushes.commit(identity)
    for name in ("anna", "ANNA.example"):
        found = house.snapshot.find(key_of(name))
        assert found is not None
        assert (found.internal_only, found.thresholds) == (True, Thresholds(junk=4, reject=7))
        assert found.senders is not None
        said = {
            address: found.senders.word_for(sender_candidates(KEY, address))
            for address in ("friend@partner.EXAMPLE", "x@spam.example", "y@worse.example", "z@partner.example")
        }
        assert list(said.values()) == [SenderWord.SAFE, SenderWord.BLOCKED, SenderWord.BLOCKED, None]
    other = house.snapshot.find(key_of("bob"))
    assert other is not None
    assert (other.internal_only, other.senders) == (False, None)


def test_a_part_sent_again_takes_the_place_of_the_first(house: House) -> None:
    identity = house.begin(["anna"])
    house.pushes.add(identity, 1, entries(["bob"]))
    house.pushes.add(identity, 1, entries(["anna"]))
    house.pushes.add(identity, 1, entries(["anna"]))
    assert house.pushes.commit(identity).addresses == 1
    assert house.names(["anna", "bob"]) == ["anna"]


def test_parts_that_are_missing_are_named_and_can_still_come(house: House) -> None:
    identity = house.begin(["anna", "bob"], parts=2)
    house.pushes.add(identity, 2, entries(["bob"]))
    with pytest.raises(PushRefusedError, match=r"1 of 2 parts are missing: 1$"):
        house.pushes.commit(identity)
    house.pushes.add(identity, 1, entries(["anna"]))
    assert house.pushes.commit(identity).addresses == 2


def test_a_part_that_a_loss_of_power_cut_short_is_missing(house: House) -> None:
    identity = house.begin(["anna"])
    house.pushes.add(identity, 1, entries(["anna"]))
    (part,) = house.folder.glob("push-*/part-*")
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(PushRefusedError, match="missing"):
        house.pushes.commit(identity)


def test_another_number_than_declared_is_no_whole_list(house: House) -> None:
    identity = house.begin(["anna", "bob"])
    house.pushes.add(identity, 1, entries(["anna"]))
    with pytest.raises(PushRefusedError, match="the parts have 1 recipients, the push declared 2"):
        house.pushes.commit(identity)
    house.pushes.add(identity, 1, entries(["anna", "bob", "carl"]))
    with pytest.raises(PushRefusedError, match="the parts have 3 recipients, the push declared 2"):
        house.pushes.commit(identity)


def test_of_too_many_dropped_nobody_is(house: House) -> None:
    house.push(many(40))
    house.now += 60
    refused = (
        "6 of 40 recipients would be dropped .15.0 %, allowed are 10 %.; so nobody is, and who is new is taken over"
    )
    identity = house.begin(many(34))
    house.pushes.add(identity, 1, entries(many(34)))
    with pytest.raises(PushRefusedError, match=refused) as caught:
        house.pushes.commit(identity)
    assert "accept_drop" in caught.value.remedy
    assert len(house.snapshot) == 40
    assert house.snapshot.header.notes == (str(caught.value),)  # doctor and status say it
    assert house.pushes.commit(identity, accept_drop=True) == Committed(34, 0, 6)
    assert house.push(many(36)) == Committed(36, 2, 0)
    assert house.push(many(34)) == Committed(34, 0, 2)


def test_a_new_colleague_does_not_wait_for_somebody_to_look(house: House) -> None:
    """On Friday a department of 20 leaves; until Monday nobody looks, and whoever is new on Saturday gets mail."""
    house.push(many(40), digest="whole")
    first = house.snapshot.header
    for _ in range(2):  # the task pushes the same list every five minutes
        house.now += 300
        with pytest.raises(PushRefusedError, match=r"20 of 4. recipients would be dropped"):
            house.push([*many(20), "new"], digest="less", domains=(DOMAIN, AcceptedDomain("new.example")))
        assert house.names([*many(40), "new", "nobody"]) == [*many(40), "new"]
        header = house.snapshot.header
        assert (header.read_ms, header.full_ms) == (int(house.now * 1000), first.full_ms)
        assert [one.name for one in header.domains or ()] == ["example.org", "new.example"]
    house.now += 300
    domains = (DOMAIN, AcceptedDomain("new.example"))
    assert house.push([*many(40), "new"], digest="whole", domains=domains).dropped == 0  # it was a mistake
    assert house.snapshot.header.notes == ()
    assert house.push([*many(20), "new"], True, digest="less", domains=domains).dropped == 20  # it was none


def test_who_is_new_does_not_wait_for_a_domain_that_goes(house: House) -> None:
    house.push(["anna"], domains=(DOMAIN, AcceptedDomain("old.example")))
    house.now += 300
    with pytest.raises(PushRefusedError, match=r"old\.example is gone; so nobody is"):
        house.push(["anna", "new"], domains=(DOMAIN,))
    assert house.names(["anna", "new"]) == ["anna", "new"]
    assert [one.name for one in house.snapshot.header.domains or ()] == ["example.org", "old.example"]


def test_domains_that_no_list_had_are_none_all_the_same(house: House) -> None:
    """None: this source says nothing of domains; an empty list would be another thing."""
    house.push(many(40), domains=None)
    house.now += 300
    with pytest.raises(PushRefusedError):
        house.push(many(20), domains=None)
    assert house.snapshot.header.domains is None


def test_as_many_others_are_dropped_all_the_same(house: House) -> None:
    house.push(many(20))
    with pytest.raises(PushRefusedError, match="20 of 20"):
        house.push(many(20, first=100))


def test_an_address_of_two_objects_is_no_other_address(house: House) -> None:
    house.push(["anna"])
    identity = house.begin(["anna", "team"], digest="two")
    both = [Entry(address_key(KEY, name), (key_of("anna"),)) for name in ("id anna", "id team")]
    house.pushes.add(identity, 1, both)
    done = house.pushes.commit(identity)
    assert (done.added, done.dropped) == (0, 0)
    assert house.names(["anna", "team"]) == ["anna"]


@pytest.mark.parametrize("accept_drop", [False, True])
@pytest.mark.parametrize("before", [[], ["anna"]])
def test_an_empty_list_never_counts(house: House, before: list[str], accept_drop: bool) -> None:
    if before:
        house.push(before)
    with pytest.raises(PushRefusedError, match="the list is empty"):
        house.push([], accept_drop, digest="empty")


def test_an_accepted_domain_goes_only_on_purpose(house: House) -> None:
    two = (DOMAIN, AcceptedDomain("example.net", DomainType.INTERNAL_RELAY, True))
    house.push(["anna"], domains=two)
    assert house.snapshot.header.domains == two
    for domains in ((DOMAIN,), None):
        with pytest.raises(PushRefusedError, match=r"example\.net.* (is|are) gone"):
            house.push(["anna"], domains=domains, digest="less")
    house.push(["anna"], True, domains=(DOMAIN,), digest="less")
    assert house.snapshot.header.domains == (DOMAIN,)


@pytest.mark.parametrize("domains", [(), (AcceptedDomain("no domain"),), (AcceptedDomain("*.example.org"),)])
def test_domains_that_cannot_be(house: House, domains: tuple[AcceptedDomain, ...]) -> None:
    with pytest.raises(PushRefusedError) as caught:
        house.begin(["anna"], domains=domains)
    assert caught.value.field == "domains"


def test_domains_are_kept_in_the_form_in_which_they_are_compared(house: House) -> None:
    house.push(["anna"], domains=(AcceptedDomain("Müller.Example."),))
    assert house.snapshot.header.domains == (AcceptedDomain("xn--mller-kva.example"),)


def test_an_unchanged_list_is_only_fresher(house: House) -> None:
    house.push(many(3), digest="same")
    began = house.snapshot.header
    house.now += 300
    assert house.pushes.begin(Declared("same", 1, 3, (DOMAIN,))) is None
    header = house.snapshot.header
    assert (header.read_ms, header.full_ms) == (began.read_ms + 300_000, began.full_ms)
    assert house.names(many(5)) == many(3)
    assert house.left() == ["push.snapshot"]


def test_of_two_pushes_the_newer_one_stays(house: House) -> None:
    older = house.begin(["anna", "bob"], digest="older")
    house.now += 1
    newer = house.begin(["anna", "bob", "carl"], digest="newer")
    house.pushes.add(older, 1, entries(["anna", "bob"]))
    house.pushes.add(newer, 1, entries(["anna", "bob", "carl"]))
    house.pushes.commit(newer)
    with pytest.raises(PushRefusedError, match="a newer list"):
        house.pushes.commit(older)
    assert len(house.snapshot) == 3


def test_the_newer_one_may_come_later(house: House) -> None:
    older = house.begin(["anna"], digest="older")
    house.now += 1
    newer = house.begin(["anna", "bob"], digest="newer")
    house.pushes.add(older, 1, entries(["anna"]))
    house.pushes.add(newer, 1, entries(["anna", "bob"]))
    house.pushes.commit(older)
    assert house.pushes.commit(newer) == Committed(2, 1, 0)


def test_of_two_machines_the_one_that_has_read_later_counts(house: House) -> None:
    """One opens each mailbox and reads for half an hour; whoever is new was not there yet when it began."""
    house.push(["anna", "new"])
    house.now += 60
    with pytest.raises(PushRefusedError, match="a newer list was pushed meanwhile"):
        house.push(["anna"], age_ms=1_800_000)
    assert house.names(["new"]) == ["new"]
    assert house.push(["anna", "new", "newer"], age_ms=59_000).added == 1
    read_ms = house.snapshot.header.read_ms
    assert read_ms == int(house.now * 1000) - 59_000
    assert house.pushes.begin(Declared("annanewnewer", 1, 3, (DOMAIN,), age_ms=70_000)) is None
    assert house.snapshot.header.read_ms == read_ms, "as of then, at least"
    house.now += 60
    assert house.pushes.begin(Declared("annanewnewer", 1, 3, (DOMAIN,), age_ms=30_000)) is None
    assert house.snapshot.header.read_ms == int(house.now * 1000) - 30_000


def test_a_list_that_was_read_for_long_has_its_hour_all_the_same(house: House) -> None:
    identity = house.begin(["anna"], age_ms=7_200_000)
    house.pushes.add(identity, 1, entries(["anna"]))
    house.now += OPEN_MS / 1000 - 1
    assert house.pushes.commit(identity).addresses == 1


def test_a_clock_that_was_ahead_once_stops_nobody(house: House) -> None:
    house.now += 86_400
    house.push(["anna"])
    house.now -= 86_400
    assert house.push(["anna", "bob"]).addresses == 2


def test_only_one_puts_a_list_in_place(house: House) -> None:
    identity = house.begin(["anna"])
    house.pushes.add(identity, 1, entries(["anna"]))
    with (house.folder / "push.snapshot.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(PushBusyError):
            house.pushes.commit(identity)
    assert house.pushes.commit(identity).addresses == 1


def test_a_push_is_over_after_an_hour_and_leaves_nothing(house: House) -> None:
    old = house.begin(["anna"])
    house.pushes.add(old, 1, entries(["anna"]))
    house.now += OPEN_MS / 1000 + 1
    for work in (
        lambda: house.pushes.add(old, 1, []),
        lambda: house.pushes.commit(old),
        lambda: house.pushes.drop(old),
    ):
        with pytest.raises(UnknownPushError):
            work()
    new = house.begin(["anna"])
    assert house.left() == [f"push-{new}"]


def test_a_dropped_push_leaves_nothing(house: House) -> None:
    identity = house.begin(["anna"])
    house.pushes.add(identity, 1, entries(["anna"]))
    house.pushes.drop(identity)
    assert house.left() == []
    with pytest.raises(UnknownPushError):
        house.pushes.drop(identity)


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path, max_recipients=2)
    with pytest.raises(PushRefusedError, match=r"push\.max_recipients"):
        house.begin(many(3))
    with pytest.raises(PushRefusedError, match="parts"):
        house.pushes.begin(Declared("d", pushed_files.MAX_PARTS + 1, 1, None))
    identity = house.begin(["anna"])
    for number in (0, 2):
        with pytest.raises(PushRefusedError, match=f"part {number} of a push that declared 1 parts"):
            house.pushes.add(identity, number, entries(["anna"]))
    house.pushes.add(identity, 1, [Entry(bytes(16), tuple(key_of(name) for name in many(3)))])
    with pytest.raises(PushRefusedError, match=r"push\.max_recipients"):
        house.pushes.commit(identity)
    monkeypatch.setattr(pushed_files, "MAX_BYTES", 100)
    with pytest.raises(PushRefusedError, match="octets"):
        house.pushes.add(identity, 1, entries(many(3)))


def test_push_is_off_by_default(tmp_path: Path) -> None:
    pushes = Pushes(make_config(tmp_path))
    nothing = Declared("d", 1, 1, None)
    for work in (pushes.site_key, lambda: pushes.begin(nothing), lambda: pushes.commit("0" * 16)):
        with pytest.raises(PushRefusedError, match=r"push\.enabled"):
            work()
    assert not (tmp_path / "directory").exists()


def test_a_damaged_list_in_use_is_replaced(house: House) -> None:
    house.push(many(20), digest="same")
    path = house.folder / "push.snapshot"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert house.push(many(2), digest="same").addresses == 2


def test_a_list_under_another_key_is_replaced_whole(house: House) -> None:
    """As when a node gets the key of another one after its first push: of the guard what can be compared stays."""
    both = (DOMAIN, AcceptedDomain("example.net"))
    house.push(many(20), digest="same", domains=both)
    before = house.snapshot.header.key
    new = bytes.fromhex("ab" * 32)
    (house.folder / "site-key").write_text(new.hex() + "\n")
    assert house.pushes.begin(Declared("same", 1, 2, both)) is not None, "it is not the list in use"
    with pytest.raises(PushRefusedError, match="18 of 20 recipients would be dropped"):
        house.push(many(2), under=new, domains=both)
    with pytest.raises(PushRefusedError, match=r"example\.net is gone"):
        house.push(many(20), under=new)
    assert house.push(many(19), under=new, digest="same", domains=both).addresses == 19
    assert house.snapshot.header.key not in ("", before)
    assert house.snapshot.find(key_of("user3", new)) is not None
    assert house.push(many(2), True, under=new, domains=both).dropped == 17


def test_a_push_that_began_before_the_key_was_exchanged_does_not_count(house: House) -> None:
    """Its keys are of no use under the new one: everybody in it would be unknown, and refused."""
    identity = house.begin(["anna"])
    house.pushes.add(identity, 1, entries(["anna"]))
    (house.folder / "site-key").write_text("ab" * 32 + "\n")
    with pytest.raises(PushRefusedError, match="the site key is not the one"):
        house.pushes.commit(identity, accept_drop=True)
    assert not (house.folder / "push.snapshot").exists()
    assert house.push(["anna"]).addresses == 1


def test_a_list_made_with_another_key_is_not_begun(house: House) -> None:
    name = key_name(house.pushes.site_key())
    other = "0" * 8
    assert house.begin(["anna"], key=name)
    with pytest.raises(PushRefusedError, match="the site key is not the one") as caught:
        house.begin(["anna"], key=other)
    assert "ask for the key again" in caught.value.remedy
    house.push(["anna"], digest="same")
    with pytest.raises(PushRefusedError, match="the site key is not the one"):  # nor is it the list in use
        house.begin(["anna"], digest="same", key=other)


def test_a_domain_and_all_below_it_are_two_domains(house: House) -> None:
    """As Exchange has example.org and *.example.org, each of its own type, in any order."""
    itself = AcceptedDomain("example.org", DomainType.AUTHORITATIVE)
    below = AcceptedDomain("example.org", DomainType.INTERNAL_RELAY, subdomains=True)
    for number, domains in enumerate(((itself, below), (below, itself), (below, itself, below))):
        house.push(["anna"], digest=str(number), domains=domains)
        accepted = AcceptedDomains(others=house.snapshot.header.domains or ())
        assert accepted.find("example.org") == itself
        assert accepted.find("dept.example.org") == below


def test_names_that_nobody_has_protect_nobody(house: House) -> None:
    names = (" Anna Example ", "Anna Example", "", "  ", "Bob\x00", "Carl\nDoe", "J\u00fcrgen M\u00fcller")
    house.push(["anna"], people=names)
    assert [person.name for person in house.snapshot.header.people] == ["Anna Example", "J\u00fcrgen M\u00fcller"]


def test_a_relay_domain_whose_recipients_are_looked_up_from_now_on_is_said(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.push(["anna"], domains=(AcceptedDomain("example.org", DomainType.INTERNAL_RELAY),))
    house.push(["anna"], digest="strict", domains=(DOMAIN,))
    (record,) = [r for r in caplog.records if "looked up from now on" in r.message]
    assert record.__dict__["domain"] == "example.org"


def test_what_a_killed_process_left_half_written_goes(house: House) -> None:
    house.push(["anna"])
    (house.folder / ".push.snapshot.123.abcd").write_bytes(b"half")
    (house.folder / ".ldap-hq.snapshot.123.abcd").write_bytes(b"somebody else's, perhaps being written")
    house.push(["anna", "bob"])
    assert house.left() == [".ldap-hq.snapshot.123.abcd", "push.snapshot"]


def test_parts_are_read_by_one_commit_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole list is hundreds of megabytes in memory; whoever repeats commits must not fill it."""
    identity = house.begin(["anna"])
    house.pushes.add(identity, 1, entries(["anna"]))
    read: list[str] = []
    table = pushed_files.PushFiles.table

    def counted(*arguments: Any) -> Any:
        read.append("")
        return table(*arguments)

    monkeypatch.setattr(pushed_files.PushFiles, "table", counted)
    with (house.folder / "push.snapshot.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(PushBusyError):
            house.pushes.commit(identity)
    assert read == []
    house.pushes.commit(identity)
    assert read == [""]


def _interrupted(folder: Path, at: int) -> None:
    """A commit in a process that is killed when it has written for the `at`th time."""
    house = House(folder)
    house.now += 60
    count = 0
    real = os.replace

    def replace(*paths: Any) -> None:
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*paths)
        if count == at - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    house.push(many(21), digest="new")


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_killed_at_any_point_the_list_is_the_old_or_the_new_one(tmp_path: Path, at: int) -> None:
    house = House(tmp_path)
    house.push(many(20), digest="old")
    process = multiprocessing.get_context("fork").Process(target=_interrupted, args=(tmp_path, at))
    process.start()
    process.join(60)
    assert len(house.snapshot) in (20, 21)
    house.now += 120
    if len(house.snapshot) == 20:
        assert house.push(many(21), digest="new").added == 1
    else:
        assert house.pushes.begin(Declared("new", 1, 21, (DOMAIN,))) is None
    house.now += OPEN_MS / 1000 + 1
    house.pushes.drop(house.begin(["anna"]))
    assert house.left() == ["push.snapshot"]


@pytest.mark.parametrize("text", ["anna@example.com", "ANNA@example.COM", " anna@example.com "])
def test_readable_senders_become_keys(text: str) -> None:
    assert sender_key(KEY, text) == address_key(KEY, "anna@example.com")
    assert sender_key(KEY, sender_key(KEY, text).hex()) == sender_key(KEY, text)


def test_readable_domains_become_keys() -> None:
    wanted = address_key(KEY, "@müller.example".replace("müller", "xn--mller-kva"))
    assert {sender_key(KEY, text) for text in ("Müller.example", "@xn--mller-kva.example")} == {wanted}


@pytest.mark.parametrize("text", ["anna", "@", "anna@", "anna@nowhere", "0123", "a b.example", "x" * 320])
def test_what_is_no_sender(text: str) -> None:
    with pytest.raises(ValueError, match="expected keys"):
        sender_key(KEY, text)


@given(st.text(max_size=400))
@settings(max_examples=200)
def test_any_text_is_a_sender_or_is_not(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert len(sender_key(KEY, text)) == 16
