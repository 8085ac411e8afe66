"""Syncs against a real slapd that says what Active Directory says: full, incremental, restored, dying, guarded."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from filterd.adapters.ldap_link import Link
from filterd.adapters.site_key import path_of, site_key
from filterd.config import Config
from filterd.directory.keys import address_key
from filterd.directory.snapshot import Found, Snapshot
from filterd.directory.values import AcceptedDomain, DomainType, Thresholds
from filterd.directory_store import snapshot_path
from filterd.directory_sync import Outcome, Sync, SyncError
from filterd.errors import ConfigError
from filterd.metrics import DIRECTORY_SYNCS
from filterd.wire.ldap_answer import Entry
from tests.support.slapd_exchange import (
    BASE,
    READER,
    READER_PASSWORD,
    STAFF,
    ExchangeDirectory,
    domain,
    entry,
    exchange_directory,
    group,
    user,
)

pytestmark = pytest.mark.server("slapd", "slapadd")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeDirectory]:
    with exchange_directory(tmp_path_factory.mktemp("slapd")) as server:
        yield server


@pytest.fixture
def server(directory: ExchangeDirectory) -> Iterator[ExchangeDirectory]:
    """The directory, empty, as it was."""
    was = (directory.active_directory, directory.clock, directory.invocation, directory.host)
    yield directory
    directory.active_directory, directory.clock, directory.invocation, directory.host = was


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(READER_PASSWORD + "\n")
    return tmp_path


def config(server: ExchangeDirectory, state: Path, urls: Sequence[str] = (), **keys: object) -> Config:
    table = {
        "urls": urls or [server.urls["ldaps"]],
        "user": READER,
        "password_file": state / "password",
        "ca_file": server.certificate,
        "page_size": 100,
        "timeout_seconds": 10.0,
        **keys,
    }
    return Config.model_validate({"server": {"state_dir": state, "hostname": "filter.example.org"}, "ldap": [table]})


def sync(given: Config, **how: bool) -> Outcome:
    return Sync(given, given.ldap[0]).run(**how)


def refused(given: Config, kind: str, **how: bool) -> str:
    """The line of a sync that changed nothing."""
    path = snapshot_path(given.state_dir, "ad")
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(SyncError) as caught:
        sync(given, **how)
    assert caught.value.kind == kind, str(caught.value)
    assert (path.read_bytes() if path.exists() else None) == before
    assert str(caught.value).isprintable()
    return str(caught.value)


def opened(given: Config) -> Snapshot:
    return Snapshot(snapshot_path(given.state_dir, "ad"))


def found(given: Config, address: str) -> Found | None:
    return opened(given).find(address_key(site_key(given.state_dir), address))


def people(*numbers: int, usn: int = 2) -> list[str]:
    return [user(f"u{number}", f"u{number}@example.org", f"alias{number}@example.org", usn=usn) for number in numbers]


# ---------------------------------------------------------------- everything


def test_everything_that_is_there(server: ExchangeDirectory, state: Path) -> None:
    boss = user("boss", "boss@example.org", displayName="The Boss")
    server.publish(
        [
            *people(*range(1150)),
            user("closed", "closed@example.org", msExchRequireAuthToSendTo=True),
            user("strict", "strict@example.org", msExchMessageHygieneSCLJunkThreshold=-(2**31) + 4),
            user("system", "system@example.org", msExchRecipientTypeDetails=8388608),
            user("nobody"),
            boss,
            domain("example.org", 4),
            domain("*.relay.example", 2),
            domain("*"),
        ],
        usn=9,
    )
    given = config(server, state)
    outcome = sync(given)
    assert (outcome.kind, outcome.why, outcome.objects, outcome.addresses) == ("full", "first sync", 1153, 2303)
    assert (outcome.added, outcome.dropped, outcome.domains) == (2303, 0, 2)
    assert found(given, "Alias7@Example.org") is not None
    assert found(given, "system@example.org") is None
    closed, strict = found(given, "closed@example.org"), found(given, "strict@example.org")
    assert closed is not None
    assert closed.internal_only
    assert strict is not None
    assert strict.thresholds == Thresholds(junk=4)
    header = opened(given).header
    assert header.domains == (
        AcceptedDomain("example.org"),
        AcceptedDomain("relay.example", DomainType.INTERNAL_RELAY, subdomains=True),
    )
    assert any("accepted domain * is not taken over" in note for note in header.notes)
    assert abs(header.read_ms / 1000 - time.time()) < 60


def test_addresses_lie_there_as_keys_only(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(1, 2))
    given = config(server, state)
    sync(given)
    octets = snapshot_path(given.state_dir, "ad").read_bytes()
    assert b"u1" not in octets
    assert b"alias" not in octets


def test_senders_of_mailboxes_are_kept_when_they_are_asked_for(server: ExchangeDirectory, state: Path) -> None:
    server.publish([user("anna", "anna@example.org", msExchSafeSendersHash=b"\5\6\7\x08\1\2\3\4")])
    assert sync(config(server, state)).kind == "full"
    given = config(server, state, safelists=True)
    assert sync(given).why == "other settings than last time"
    anna = found(given, "anna@example.org")
    assert anna is not None
    assert anna.senders is not None
    assert (anna.senders.safe, anna.senders.width) == (b"\1\2\3\4\5\6\7\x08", 4)


# ---------------------------------------------------------------- what changed


def test_what_changed_is_enough(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(*range(20)), usn=10)
    sync(config(server, state))
    changed = [
        *people(*range(2, 20)),
        user("u0", "new0@example.org", usn=12),  # another address
        user("u1", usn=13),  # no address any more: mail-disabled
        user("u30", "u30@example.org", usn=14),
        entry(f"cn=printer,{BASE}", "user", cn="printer", uSNChanged=15),
    ]
    server.publish(changed, usn=15)
    given = config(server, state)
    outcome = sync(given)
    assert (outcome.kind, outcome.added, outcome.dropped) == ("incremental", 2, 4)
    assert found(given, "u30@example.org") is not None
    assert found(given, "new0@example.org") is not None
    assert found(given, "u0@example.org") is None
    assert found(given, "u1@example.org") is None
    assert found(given, "u5@example.org") is not None
    quiet = sync(config(server, state))
    assert (quiet.kind, quiet.added, quiet.dropped) == ("incremental", 0, 0)


def test_what_changes_while_it_is_read_is_read_again(server: ExchangeDirectory, state: Path) -> None:
    """The number is taken before the search: an object changed meanwhile has a higher one, and comes next time."""
    server.publish([*people(1), user("late", "late@example.org", usn=11)], usn=10)
    sync(config(server, state))
    server.publish([*people(1), user("late", "later@example.org", usn=11)], usn=11)
    given = config(server, state)
    assert sync(given).kind == "incremental"
    assert found(given, "later@example.org") is not None
    assert found(given, "late@example.org") is None


def test_somebody_deleted_is_gone_with_the_next_full_sync(server: ExchangeDirectory, state: Path) -> None:
    """A user without rights does not see what was deleted (facts: exchange.md 3.3)."""
    server.publish(people(*range(10)), usn=10)
    sync(config(server, state))
    server.publish(people(*range(9)), usn=11)
    given = config(server, state)
    assert sync(given).dropped == 0
    before = opened(given).header.full_ms
    outcome = sync(given, full=True)
    assert (outcome.kind, outcome.dropped) == ("full", 2)
    assert opened(given).header.full_ms >= before


def test_after_the_key_was_exchanged_everything_is_read_anew(server: ExchangeDirectory, state: Path) -> None:
    """Changes alone would leave a list of which half is under one key and half under the other."""
    server.publish(people(*range(10)), usn=10)
    sync(config(server, state))
    path_of(state).write_text("ab" * 32 + "\n")
    given = config(server, state)
    outcome = sync(given)
    assert outcome.kind == "full"
    assert any("another site key" in note for note in outcome.notes)
    assert found(given, "u3@example.org") is not None
    assert sync(given).kind != "full"


@pytest.mark.parametrize("what", ["invocation", "usn", "host", "bases", "attributes", "user"])
def test_when_what_changed_is_not_enough(server: ExchangeDirectory, state: Path, what: str) -> None:
    server.publish(people(*range(10)), usn=50)
    sync(config(server, state))
    usn, why = 60, ""
    keys: dict[str, object] = {}
    if what == "invocation":
        server.invocation, why = bytes(16), "the server was restored from a backup"
    elif what == "usn":
        usn, why = 40, "the server's changes went back: was it restored from a backup?"
    elif what == "host":
        server.host, why = "dc2.example.org", "another server than last time"
    else:
        why = "other settings than last time"
        keys = {
            "bases": {"bases": [STAFF]},
            "attributes": {"address_attributes": ["proxyAddresses", "mail"]},
            "user": {"user": READER.upper()},  # may see others
        }[what]
    server.publish([*people(*range(11)), user("m", mail="m@example.org")], usn=usn)  # nobody has a new USN
    given = config(server, state, **keys)
    outcome = sync(given)
    assert (outcome.kind, outcome.why) == ("full", why)
    assert found(given, "u10@example.org") is not None
    assert (found(given, "m@example.org") is not None) is (what == "attributes")
    assert list(opened(given).header.servers) == [server.host]


def test_a_directory_that_does_not_number_its_changes(server: ExchangeDirectory, state: Path) -> None:
    server.active_directory = False
    server.publish([user("anna", mail="Anna@example.org"), user("bob", mail="bob@example.org")])
    given = config(server, state, address_attributes=["mail"])
    assert sync(given).domains is None
    server.publish([user("anna", mail="anna@example.org"), user("carl", mail="carl@example.org")])
    given = config(server, state, address_attributes=["mail"])
    outcome = sync(given)
    assert (outcome.kind, outcome.why) == ("full", "this directory does not number its changes")
    assert (outcome.added, outcome.dropped) == (1, 0)  # it was started anew on another port: to us another server
    assert found(given, "carl@example.org") is not None
    outcome = sync(given)
    assert (outcome.added, outcome.dropped) == (0, 1)
    assert found(given, "bob@example.org") is None


def test_another_controller_drops_nobody_before_it_is_read_twice(
    server: ExchangeDirectory, state: Path, tmp_path: Path
) -> None:
    """Replication takes minutes, between sites hours: whom it does not know yet must not be refused when it takes over."""
    server.publish([*people(*range(40)), domain("example.org")], usn=10)
    lagging = [*people(*range(1, 39), 77), domain("example.org")]
    with exchange_directory(tmp_path / "two", lagging, authority=server.authority, host="dc2.example.org") as second:
        sync(config(server, state))
        given = config(server, state, [second.urls["ldaps"]])
        outcome = sync(given)
        assert (outcome.why, outcome.added, outcome.dropped) == ("another server than last time", 2, 0)
        (note,) = outcome.notes
        assert note.startswith(f"4 addresses that {second.urls['ldaps']} does not have stay for now")
        assert "wait for the nightly sync, or run `filterd directory sync ad --accept-drop`" in note
        assert opened(given).header.notes == outcome.notes  # doctor and status say it
        assert found(given, "u39@example.org") is not None
        assert found(given, "u77@example.org") is not None
        assert sync(given).kind == "incremental"
        assert found(given, "u39@example.org") is not None
        assert sync(given, full=True).dropped == 4  # at night: it has had its time
        assert found(given, "u39@example.org") is None


@pytest.mark.parametrize("what", ["invocation", "usn"])
def test_a_controller_from_a_backup_forgets_nobody(server: ExchangeDirectory, state: Path, what: str) -> None:
    """Who came after the backup exists at the other controllers, and comes back by replication."""
    server.publish(people(*range(40)), usn=50)
    sync(config(server, state))
    if what == "invocation":
        server.invocation = bytes(16)
    server.publish(people(*range(39)), usn=60 if what == "invocation" else 40)
    given = config(server, state)
    outcome = sync(given, full=True)
    assert outcome.dropped == 0
    assert found(given, "u39@example.org") is not None
    assert sync(given, accept_drop=True).dropped == 2


def test_who_is_moved_while_everything_is_read_is_not_missed(
    server: ExchangeDirectory, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of many pages may pass by an object that is renamed meanwhile: what changed is read once more at the end."""
    server.publish([*people(*range(3)), *people(9, usn=12)], usn=11)
    pages = Link.pages

    def passing_by(self: Link, base: str, query: str, wanted: Sequence[str], **more: bool) -> Iterator[list[Entry]]:
        for page in pages(self, base, query, wanted, **more):
            yield [one for one in page if "proxyAddresses=" not in query or b"u9" not in one.dn]

    monkeypatch.setattr(Link, "pages", passing_by)
    given = config(server, state)
    assert sync(given).objects == 4
    assert found(given, "u9@example.org") is not None


def test_of_three_people_two_do_not_go_unnoticed(server: ExchangeDirectory, state: Path) -> None:
    server.publish([user(f"u{n}", f"u{n}@example.org") for n in range(3)])
    sync(config(server, state))
    server.publish([user("u0", "u0@example.org")])
    given = config(server, state)
    assert "2 of 3 recipients would be dropped" in guarded(given, full=True)
    assert found(given, "u2@example.org") is not None
    assert sync(given, accept_drop=True).addresses == 1


def test_the_guard_is_there_when_the_key_was_exchanged(server: ExchangeDirectory, state: Path) -> None:
    server.publish([*people(*range(40)), domain("example.org"), domain("old.example")])
    sync(config(server, state))
    path_of(state).write_text("ab" * 32 + "\n")
    server.publish([*people(*range(20)), domain("example.org")])
    given = config(server, state)
    assert "40 of 80 recipients would be dropped" in refused(given, "guard")
    server.publish([*people(*range(39)), domain("example.org")])
    given = config(server, state)
    assert any("old.example is gone from Exchange" in note for note in sync(given).notes)
    assert [one.name for one in opened(given).header.domains or ()] == ["example.org", "old.example"]


# ---------------------------------------------------------------- the guard


def guarded(given: Config, **how: bool) -> str:
    """The line of a sync that dropped nobody."""
    with pytest.raises(SyncError) as caught:
        sync(given, **how)
    assert caught.value.kind == "guard"
    assert str(caught.value).removeprefix("ldap ad: ") in opened(given).header.notes
    return str(caught.value)


def test_too_many_gone_at_once_drops_nobody_and_takes_over_who_is_new(server: ExchangeDirectory, state: Path) -> None:
    server.publish([*people(*range(40)), domain("example.org")], usn=10)
    sync(config(server, state))
    before = opened(config(server, state)).header
    server.publish([*people(*range(30), 77), domain("example.org"), domain("new.example")], usn=11)
    given = config(server, state)
    for _ in range(2):  # and it stays so
        text = guarded(given, full=True)
        assert "20 of 8" in text
        assert "so none of them is; who is new is taken over" in text
        assert "`filterd directory sync ad --accept-drop`" in text
        assert found(given, "u39@example.org") is not None
        assert found(given, "u77@example.org") is not None
    header = opened(given).header
    assert (header.full_ms, header.servers) == (before.full_ms, before.servers)  # it is tried again
    assert [one.name for one in header.domains or ()] == ["example.org", "new.example"]
    assert sync(given).kind == "incremental"  # of what changes, nobody waits
    assert found(given, "u39@example.org") is not None


def test_to_accept_what_is_gone_everything_is_read(server: ExchangeDirectory, state: Path) -> None:
    """Who was deleted is seen in a full sync only: the command that the line names must do without more words."""
    server.publish(people(*range(40)), usn=10)
    sync(config(server, state))
    server.publish(people(*range(30)), usn=11)
    given = config(server, state)
    guarded(given, full=True)
    outcome = sync(given, accept_drop=True)
    assert (outcome.kind, outcome.dropped) == ("full", 20)
    assert found(given, "u39@example.org") is None
    assert not [note for note in opened(given).header.notes if "dropped" in note]


def test_the_guard_looks_at_incremental_syncs_too(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(*range(40)), usn=10)
    sync(config(server, state))
    disabled = [user(f"u{n}", usn=11) for n in range(20, 40)]
    server.publish([*people(*range(20)), *disabled], usn=11)
    assert "40 of 80 recipients" in guarded(config(server, state))
    server.publish([*people(*range(20)), *disabled, *people(50, usn=12)], usn=12)
    given = config(server, state)
    assert "40 of 80 recipients" in guarded(given)  # what is gone has not been forgotten
    assert found(given, "alias50@example.org") is not None
    assert found(given, "u39@example.org") is not None
    server.publish([*people(*range(20)), *people(*range(20, 40), usn=13), *people(50, usn=12)], usn=13)
    given = config(server, state)  # somebody has mended it
    outcome = sync(given)
    assert (outcome.kind, outcome.dropped, outcome.objects) == ("incremental", 0, 41)
    assert not [note for note in outcome.notes if "dropped" in note]


def test_nobody_takes_the_place_of_somebody(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(1))
    sync(config(server, state))
    server.publish([])
    given = config(server, state)
    assert "all 2 recipients would be dropped" in refused(given, "guard", full=True)
    # Whoever types what the guard's line names for some does not mean that all mail shall be refused.
    assert "so the old list stays" in refused(given, "empty", accept_drop=True)
    assert found(given, "u1@example.org") is not None


def test_a_first_sync_that_finds_nobody_says_why(server: ExchangeDirectory, state: Path) -> None:
    server.publish([user("anna", mail="anna@example.org")])
    text = refused(config(server, state), "empty")
    assert f"nobody found below {BASE} with (proxyAddresses=smtp:*)" in text
    assert "correct ldap.bases and ldap.address_attributes" in text


def test_an_accepted_domain_does_not_vanish_and_new_recipients_do_not_wait(
    server: ExchangeDirectory, state: Path
) -> None:
    server.publish([*people(1), domain("example.org"), domain("old.example")])
    sync(config(server, state))
    server.publish([*people(1, 2), domain("example.org")], usn=2)
    given = config(server, state)
    for _ in range(2):
        outcome = sync(given)
        assert outcome.domains == 2
        assert (
            "the accepted domain old.example is gone from Exchange; accepted until `filterd directory sync ad --accept-drop`"
            in outcome.notes
        )
        assert found(given, "u2@example.org") is not None
    outcome = sync(given, accept_drop=True)
    assert (outcome.domains, outcome.notes) == (1, ())
    assert opened(given).header.domains == (AcceptedDomain("example.org"),)


def test_accepted_domains_that_cannot_be_read_any_more_stay(server: ExchangeDirectory, state: Path) -> None:
    server.publish([*people(1), domain("example.org")])
    sync(config(server, state))
    server.publish(people(1))
    given = config(server, state)
    for accept_drop in (False, True):  # who accepts that recipients go does not mean that all mail is foreign
        (note,) = [note for note in sync(given, accept_drop=accept_drop).notes if "example.org is gone" in note]
        assert note.endswith("accepted until they can be read, or ldap.read_domains is false")
        assert opened(given).header.domains == (AcceptedDomain("example.org"),)
    given = config(server, state, read_domains=False)  # that is somebody's wish
    assert sync(given).notes == ()
    assert opened(given).header.domains is None


def test_a_domain_whose_recipients_are_looked_up_from_now_on_is_told(server: ExchangeDirectory, state: Path) -> None:
    server.publish([*people(1), domain("example.org", 2)])
    sync(config(server, state))
    server.publish([*people(1), domain("example.org", 0)])
    assert any(
        "recipients of example.org are looked up from now on" in note for note in sync(config(server, state)).notes
    )


def test_more_objects_than_are_allowed(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(*range(12)))
    assert "more than 10 objects" in refused(config(server, state, max_entries=10), "limit")


# ---------------------------------------------------------------- servers that fail


def _dies_after_a_page(server: ExchangeDirectory, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The server at `url` loses its power when it has given the first page of recipients."""
    pages = Link.pages

    def dying(self: Link, base: str, query: str, wanted: Sequence[str], **more: bool) -> Iterator[list[Entry]]:
        for page in pages(self, base, query, wanted, **more):
            yield page
            if "proxyAddresses" in query and self.where.endswith(url):
                server.kill()

    monkeypatch.setattr(Link, "pages", dying)


def test_a_server_that_dies_in_the_middle(
    server: ExchangeDirectory, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish(people(*range(250)))
    given = config(server, state)
    sync(given)
    _dies_after_a_page(server, monkeypatch, server.urls["ldaps"])
    text = refused(given, "unreachable", full=True)
    assert "the server has ended the connection" in text or "reset" in text
    assert found(given, "u249@example.org") is not None


def test_the_next_server_is_asked_and_read_from_the_beginning(
    server: ExchangeDirectory, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish(people(*range(250)))
    with exchange_directory(
        tmp_path / "second", people(*range(245)), authority=server.authority, host="dc2.example.org"
    ) as second:
        given = config(server, state, [server.urls["ldaps"], second.urls["ldaps"]])
        _dies_after_a_page(server, monkeypatch, server.urls["ldaps"])
        outcome = sync(given)
        assert (outcome.server, outcome.objects) == (second.urls["ldaps"], 245)
        server.publish(people(*range(250)))
        given = config(server, state, [server.urls["ldaps"], second.urls["ldaps"]])
        assert sync(given).server == second.urls["ldaps"]  # goes on where what changed is enough
        monkeypatch.undo()
        assert sync(given, full=True).server == server.urls["ldaps"]  # everything: as they are configured


def test_nobody_answers(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(1))
    urls = [server.urls["ldaps"], server.urls["starttls"]]
    given = config(server, state, urls)
    server.stop()
    text = refused(given, "unreachable")
    assert all(url in text for url in urls)


def test_a_wrong_password_is_tried_once_and_not_at_each_controller(
    server: ExchangeDirectory, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish(people(1))
    (state / "password").write_text("wrong\n")
    tried: list[str] = []
    opening = Link.open
    monkeypatch.setattr(Link, "open", lambda self: (tried.append(self.where), opening(self)))
    text = refused(config(server, state, [server.urls["ldaps"], server.urls["starttls"]]), "password")
    assert "wrong user or password" in text
    assert len(tried) == 1


def test_a_clock_that_is_wrong_is_told(server: ExchangeDirectory, state: Path) -> None:
    server.clock = time.strftime("%Y%m%d%H%M%S.0Z", time.gmtime(time.time() - 3600))
    server.publish(people(1))
    given = config(server, state)
    (note,) = [note for note in sync(given).notes if "clock" in note]
    assert note.startswith("the directory's clock is 60 minutes behind ours")
    assert note in opened(given).header.notes
    server.clock = time.strftime("%Y%m%d%H%M%S.0Z", time.gmtime())
    server.publish(people(1))
    assert not [note for note in sync(config(server, state)).notes if "clock" in note]


# ---------------------------------------------------------------- protected people


def test_members_of_groups_of_groups(server: ExchangeDirectory, state: Path) -> None:
    server.active_directory = False  # it follows no chain by itself; Samba does, in the functional tests
    inner = group("board", f"cn=anna,{STAFF}", f"cn=all,{BASE}")  # and back: a ring
    outer = group("all", f"cn=board,{BASE}", f"cn=bob,{STAFF}", f"cn=gone,{STAFF}")
    server.publish(
        [user("anna", "anna@example.org", displayName="Anna Boss"), user("bob", "bob@example.org"), inner, outer]
    )
    given = config(server, state, protected_groups=[f"cn=all,{BASE}", f"cn=none,{BASE}"])
    outcome = sync(given)
    assert outcome.people == 2
    header = opened(given).header
    assert {person.name: person.addresses for person in header.people} == {
        "Anna Boss": ("anna@example.org",),
        "Bob": ("bob@example.org",),
    }
    assert any(f"protected group cn=none,{BASE} does not exist" in note for note in outcome.notes)


# ---------------------------------------------------------------- the file


def test_a_disk_that_is_full_changes_nothing(
    server: ExchangeDirectory, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish(people(1))
    given = config(server, state)
    sync(given)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    text = refused(given, "disk")
    assert text.endswith(
        "No space left on device, so the old list stays: give it to the service's user, and room on its disk"
    )
    assert not list((state / "directory").glob(".ldap-ad.snapshot.*"))


def test_a_file_of_another_owner_is_named(
    server: ExchangeDirectory, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish(people(1))
    given = config(server, state)
    sync(given)
    path = snapshot_path(given.state_dir, "ad")

    def denied(self: Snapshot, path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Snapshot, "__init__", denied)
    with pytest.raises(SyncError) as caught:
        sync(given)
    assert str(caught.value).startswith(f"ldap ad: {path}: Permission denied, so the old list stays: give it to")


def test_a_damaged_snapshot_is_made_anew(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(1))
    given = config(server, state)
    sync(given)
    path = snapshot_path(given.state_dir, "ad")
    octets = bytearray(path.read_bytes())
    octets[-40] ^= 1
    path.write_bytes(octets)
    outcome = sync(given)
    assert outcome.kind == "full"
    assert any("damaged" in note for note in outcome.notes)
    assert found(given, "u1@example.org") is not None


def test_one_sync_at_a_time(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(1))
    given = config(server, state)
    sync(given)
    lock = snapshot_path(given.state_dir, "ad").with_name("ldap-ad.snapshot.lock")
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "by another sync just now" in refused(given, "busy")
    assert sync(given).kind == "incremental"


def test_a_sync_that_is_ended_from_outside(server: ExchangeDirectory, state: Path) -> None:
    server.publish(people(1))
    given = config(server, state)
    one = Sync(given, given.ldap[0])
    one.abandon()
    with pytest.raises(SyncError) as caught:
        one.run()
    assert caught.value.kind == "abandoned"
    assert not snapshot_path(given.state_dir, "ad").exists()


def test_what_a_sync_came_to_is_counted(server: ExchangeDirectory, state: Path) -> None:
    def count(result: str) -> float:
        return float(DIRECTORY_SYNCS.labels("ad", result)._value.get())

    before = {result: count(result) for result in ("full", "incremental", "refused", "failed")}
    server.publish(people(*range(10)), usn=3)
    given = config(server, state)
    sync(given)
    sync(given)
    server.publish([])
    refused(config(server, state), "guard", full=True)
    server.stop()
    refused(given, "unreachable")
    assert {result: count(result) - number for result, number in before.items()} == dict.fromkeys(before, 1)


def test_a_configuration_that_cannot_work(server: ExchangeDirectory, state: Path) -> None:
    (state / "password").unlink()
    given = config(server, state)
    with pytest.raises(ConfigError, match="password_file"):
        sync(given)
