"""What is asked of a directory: a global catalog's gaps, deleted objects, bounds, notes; with answers given by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from filterd.adapters import directory_ldap
from filterd.adapters.directory_ldap import LdapDirectory, address_filter, escaped
from filterd.adapters.ldap_errors import LdapError
from filterd.adapters.ldap_link import Link
from filterd.config import LdapConfig
from filterd.directory.table import Builder
from filterd.wire.ldap_answer import Entry

AD = {
    "namingcontexts": [b"DC=example,DC=org", b"CN=Configuration,DC=example,DC=org"],
    "defaultnamingcontext": [b"DC=example,DC=org"],
    "configurationnamingcontext": [b"CN=Configuration,DC=example,DC=org"],
    "schemanamingcontext": [b"CN=Schema,CN=Configuration,DC=example,DC=org"],
    "highestcommittedusn": [b"4711"],
    "dsservicename": [b"CN=NTDS Settings"],
    "dnshostname": [b"DC1.example.org"],
    "currenttime": [b"20261126234500.0Z"],
    "issynchronized": [b"TRUE"],
    "supportedcontrol": [b"1.2.840.113556.1.4.319", b"1.2.840.113556.1.4.417"],
}
NOW = datetime(2026, 11, 26, 23, 45, tzinfo=UTC)
Answers = Callable[[str, str, bool], list[list[Entry]]]


class Answering:
    """A link whose pages are given by a function of base, filter and whether deleted objects are wanted."""

    where = "ldap ad, ldaps://dc1.example.org"

    def __init__(
        self, root: dict[str, list[bytes]] | None, pages: Answers = lambda base, query, deleted: [[]], gc: bool = False
    ) -> None:
        self._root, self._pages, self.is_global_catalog = root, pages, gc
        self.elsewhere: set[str] = set()
        self.unreadable: dict[str, str] = {}  # DN -> kind of the failure
        self.asked: list[tuple[str, str]] = []

    def read(self, base: str, attributes: Sequence[str]) -> Entry | None:
        if base == "":
            return Entry(b"", self._root) if self._root is not None else None
        if base in self.unreadable:
            raise LdapError(f"{base}: refused", self.unreadable[base])
        return Entry(base.encode(), {"invocationid": [b"\xab" * 16]})

    def pages(
        self, base: str, query: str, attributes: Sequence[str], *, show_deleted: bool = False
    ) -> Iterator[list[Entry]]:
        self.asked.append((base, query))
        yield from self._pages(base, query, show_deleted)


def directory(link: Answering, **keys: object) -> LdapDirectory:
    return LdapDirectory(LdapConfig.model_validate(keys), cast(Link, link), bytes(32))


def somebody(number: int, **more: list[bytes]) -> Entry:
    return Entry(
        b"cn=%d" % number,
        {"objectguid": [number.to_bytes(16, "big")], "proxyaddresses": [b"SMTP:u%d@example.org" % number], **more},
    )


def gone(number: int) -> Entry:
    return Entry(b"cn=%d" % number, {"objectguid": [number.to_bytes(16, "big")]})


# ---------------------------------------------------------------- what the server says of itself


def test_an_active_directory_needs_no_base() -> None:
    found = directory(Answering(AD))
    assert found.bases == ("DC=example,DC=org",)
    assert (found.root.host, found.root.usn, found.root.now) == ("dc1.example.org", 4711, NOW)
    assert found.invocation() == "ab" * 16
    assert directory(Answering(AD), bases=["OU=A", "OU=B"]).bases == ("OU=A", "OU=B")


def test_another_directory_is_read_from_its_first_naming_context() -> None:
    found = directory(Answering({"namingcontexts": [b"dc=example,dc=org", b"cn=log"]}))
    assert found.bases == ("dc=example,dc=org",)
    assert found.root.usn is None
    assert found.invocation() == ""
    assert found.domains() is None
    assert "recipients.accepted_domains" in found.notes[0]


@pytest.mark.parametrize("root", [None, {}])
def test_a_directory_that_says_nothing_of_itself(root: dict[str, list[bytes]] | None) -> None:
    with pytest.raises(LdapError, match=r"set ldap\.bases"):
        directory(Answering(root))


def test_a_controller_that_is_still_copying_is_not_read() -> None:
    with pytest.raises(LdapError, match="still copying") as caught:
        directory(Answering({**AD, "issynchronized": [b"FALSE"]}))
    assert caught.value.kind == "refused"  # the next one is asked


def test_a_global_catalog_that_is_still_being_built_is_not_read() -> None:
    root = {**AD, "isglobalcatalogready": [b"FALSE"]}
    assert directory(Answering(root)).root.host  # its own domain is whole
    link = Answering(root)
    link.is_global_catalog = True
    with pytest.raises(LdapError, match="still being built") as caught:
        directory(link)
    assert caught.value.kind == "refused"


@pytest.mark.parametrize("usn", [b"", b"-1", b"x", b"9" * 30, "\u0663".encode()])
def test_a_number_that_is_none(usn: bytes) -> None:
    assert directory(Answering({**AD, "highestcommittedusn": [usn]})).root.usn is None


@pytest.mark.parametrize(
    ("minutes", "said"), [(4, ""), (-4, ""), (60, "60 minutes behind"), (-60, "60 minutes ahead of")]
)
def test_clocks_that_differ(minutes: int, said: str) -> None:
    note = directory(Answering(AD)).clock_note(NOW + timedelta(minutes=minutes))
    assert (said in note) if said else not note
    assert not directory(Answering({**AD, "currenttime": [b"soon"]})).clock_note(NOW)


# ---------------------------------------------------------------- a global catalog


def _schema(*held: str, known: Sequence[str] = ()) -> Answers:
    names = dict.fromkeys(known, b"FALSE") | dict.fromkeys(held, b"TRUE")

    def pages(base: str, query: str, deleted: bool) -> list[list[Entry]]:
        if "attributeSchema" not in query:
            return [[]]
        return [
            [
                Entry(b"cn=x", {"ldapdisplayname": [name.encode()], "ismemberofpartialattributeset": [flag]})
                for name, flag in names.items()
            ]
        ]

    return pages


def test_a_global_catalog_is_read_over_the_whole_forest() -> None:
    assert directory(Answering(AD, gc=True)).bases == ("",)


def test_what_a_global_catalog_does_not_hold_is_noted() -> None:
    junk = "msExchMessageHygieneSCLJunkThreshold"
    found = directory(Answering(AD, _schema("proxyAddresses", "displayName", known=[junk]), gc=True))
    found.note_missing()
    assert found.notes == (
        f"the global catalog does not hold {junk}: for them name domain controllers (port 636), one [[ldap]] for each domain",
    )


def test_a_global_catalog_without_addresses_cannot_be_used() -> None:
    found = directory(Answering(AD, _schema(known=["proxyAddresses"]), gc=True))
    with pytest.raises(LdapError, match="does not hold proxyAddresses: name domain controllers"):
        found.note_missing()


def test_a_domain_controller_holds_everything() -> None:
    found = directory(Answering(AD, _schema(known=["proxyAddresses"])))
    found.note_missing()
    assert found.notes == ()


# ---------------------------------------------------------------- recipients


def test_the_filter_finds_addresses_of_smtp() -> None:
    assert address_filter(["proxyAddresses"]) == "(proxyAddresses=smtp:*)"
    assert address_filter(["ProxyAddresses", "mail"]) == "(|(ProxyAddresses=smtp:*)(mail=*))"


def test_a_name_in_a_filter_is_only_a_value() -> None:
    assert escaped("cn=a*)(b\\,dc=x\0") == "cn=a\\2a\\29\\28b\\5c,dc=x\\00"


def test_bases_that_lie_in_one_another_give_everybody_once() -> None:
    found = directory(Answering(AD, lambda *_: [[somebody(1), somebody(2)]]), bases=["DC=a", "OU=b,DC=a"])
    builder = Builder()
    found.read_all(builder)
    assert len(builder) == 2


def test_more_objects_than_allowed_are_not_read() -> None:
    endless = Answering(AD, lambda *_: [[somebody(n) for n in range(100)]] * 100)
    builder = Builder()
    with pytest.raises(LdapError, match=r"raise ldap\.max_entries") as caught:
        directory(endless, max_entries=250).read_all(builder)
    assert caught.value.kind == "limit"
    assert len(builder) <= 250


def test_what_changed_and_what_is_gone() -> None:
    def pages(base: str, query: str, deleted: bool) -> list[list[Entry]]:
        if deleted:
            assert query == "(&(isDeleted=TRUE)(uSNChanged>=12))"
            return [[gone(3)], [gone(1)]]
        assert query == "(uSNChanged>=12)"
        return [[somebody(1)], [gone(2)]]

    changes = directory(Answering(AD, pages)).changes(11)
    assert changes is not None
    assert [entry.id[-1] for entry in changes.changed] == [1]
    assert {identity[-1] for identity in changes.gone} == {2, 3}  # 1 was deleted, and is back


@pytest.mark.parametrize(("kind", "fatal"), [("rights", False), ("refused", False), ("unreachable", True)])
def test_deleted_objects_that_may_not_be_seen(kind: str, fatal: bool) -> None:
    def pages(base: str, query: str, deleted: bool) -> list[list[Entry]]:
        if deleted:
            raise LdapError("no", kind)
        return [[somebody(1)]]

    found = directory(Answering(AD, pages))
    if fatal:
        with pytest.raises(LdapError):
            found.changes(11)
    else:
        changes = found.changes(11)
        assert changes is not None
        assert len(changes.changed) == 1


@pytest.mark.parametrize("deleted_ones", [False, True])
def test_too_many_changes_are_no_changes(monkeypatch: pytest.MonkeyPatch, deleted_ones: bool) -> None:
    monkeypatch.setattr(directory_ldap, "MAX_CHANGES", 10)
    link = Answering(AD, lambda base, query, deleted: [[gone(n) for n in range(20)] if deleted is deleted_ones else []])
    assert directory(link).changes(1) is None


def test_a_look_at_the_first_page() -> None:
    page = [somebody(1), somebody(2, msexchrequireauthtosendto=[b"TRUE"]), gone(3)]
    count, more, unseen = directory(Answering(AD, lambda *_: [page, page]), page_size=3).first_page()
    assert (count, more) == (2, True)
    assert "msExchRecipientTypeDetails" in unseen
    assert "msExchRequireAuthToSendTo" not in unseen
    assert directory(Answering(AD)).first_page() == (0, False, ())


# ---------------------------------------------------------------- domains, people


def test_accepted_domains_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_ldap, "MAX_DOMAINS", 3)
    one = Entry(b"cn=x", {"msexchaccepteddomainname": [b"a.example"]})
    with pytest.raises(LdapError) as caught:
        directory(Answering(AD, lambda *_: [[one] * 4])).domains()
    assert caught.value.kind == "limit"


def test_domains_may_be_left_to_the_configuration() -> None:
    link = Answering(AD)
    assert directory(link, read_domains=False).domains() is None
    assert link.asked == []


def test_no_domains_are_none_and_noted() -> None:
    found = directory(Answering(AD))
    assert found.domains() is None
    assert "no right to read" in found.notes[0]


def test_protected_people_are_found_by_the_chain_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_ldap, "MAX_PEOPLE", 3)
    page = [somebody(number, displayname=[b"Boss %d" % number]) for number in range(5)]
    link = Answering(AD, lambda *_: [page])
    found = directory(link, protected_groups=["CN=Board (all),DC=example"])
    assert [person.name for person in found.people()] == ["Boss 0", "Boss 1", "Boss 2"]
    assert "(memberOf:1.2.840.113556.1.4.1941:=CN=Board \\28all\\29,DC=example)" in link.asked[0][1]
    assert "more than 3 members" in found.notes[0]
    assert "(!(objectClass=group))" in link.asked[0][1]  # a nested group has a display name, and is nobody


@pytest.mark.parametrize(
    ("kind", "fatal"), [("referral", False), ("base", False), ("rights", False), ("timeout", True)]
)
def test_a_protected_group_of_another_domain_keeps_no_recipients_from_being_read(kind: str, fatal: bool) -> None:
    link = Answering(AD, lambda *_: [[somebody(1, displayname=[b"Boss"])]])
    link.unreadable["CN=Board,DC=child"] = kind
    found = directory(link, protected_groups=["CN=Board,DC=child", "CN=Ours"])
    if fatal:
        with pytest.raises(LdapError):
            found.people()
        return
    assert [person.name for person in found.people()] == ["Boss"]
    assert found.notes[0].startswith(
        "protected group CN=Board,DC=child cannot be read here: correct ldap.protected_groups"
    )


def test_domains_below_this_one_are_noted() -> None:
    link = Answering(AD)
    found = directory(link)
    link.elsewhere |= {
        "CN=Configuration,DC=example,DC=org",
        "DC=DomainDnsZones,DC=example,DC=org",
        "DC=ForestDnsZones,DC=example,DC=org",
    }
    assert found.elsewhere_note() == ""
    link.elsewhere.add("DC=child,DC=example,DC=org")
    assert found.elsewhere_note().startswith("DC=child,DC=example,DC=org lie below and are not read")
    link.elsewhere |= {f"DC=c{number},DC=example,DC=org" for number in range(9)}
    assert " and others lie below" in found.elsewhere_note()


def test_notes_are_bounded() -> None:
    """20,000 accepted domains that are none make no log line of megabytes."""
    page = [Entry(b"cn=%d" % n, {"msexchaccepteddomainname": [b"no domain %d" % n]}) for n in range(500)]
    found = directory(Answering(AD, lambda *_: [page]))
    found.domains()
    assert len(found.notes) == directory_ldap.MAX_NOTES


def test_without_the_right_to_see_which_copy_it_is_everything_is_read() -> None:
    link = Answering(AD)
    link.unreadable["CN=NTDS Settings"] = "rights"
    found = directory(link)
    assert found.invocation() == ""
    assert found.notes == ("invocationId of CN=NTDS Settings may not be read: everything is read anew at each sync",)
    link.unreadable["CN=NTDS Settings"] = "timeout"
    with pytest.raises(LdapError):
        found.invocation()
