"""What attributes mean: addresses in any writing, thresholds that are in force, lists of hashes, accepted domains; odd values."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.directory.attributes import (
    BLOCKED,
    DOMAIN_FLAGS,
    DOMAIN_NAME,
    LIMITS,
    MAX_ADDRESSES,
    SAFE,
    TYPE_DETAILS,
    Tally,
    accepted_domain,
    addresses,
    identity,
    person,
    recipient,
    wanted,
)
from filterd.directory.domains import address_forms, plain_local
from filterd.directory.keys import address_key
from filterd.directory.table import Entry
from filterd.directory.values import AcceptedDomain, DomainType, Thresholds
from filterd.mail.address import parse_mailbox
from tests.support.growth import assert_growth

KEY = bytes(32)
GUID = bytes(range(16))
MAIL = {"proxyaddresses": [b"SMTP:Anna@Example.org"], "objectguid": [GUID]}


def read(
    attributes: dict[str, list[bytes]],
    names: tuple[str, ...] = ("proxyAddresses",),
    safelists: bool = False,
    tally: Tally | None = None,
) -> Entry | None:
    return recipient(b"cn=anna", attributes, KEY, names, safelists=safelists, tally=tally or Tally())


def test_addresses_in_any_case_and_other_prefixes() -> None:
    values = [
        b"SMTP:Anna@Example.ORG",
        b"smtp:a.b+c@sub.example.org",
        b"SmTp:ANNA@example.org",  # the same again
        b"X400:C=US;A= ;P=First;O=Exchange;S=A;",
        b"x500:/o=First/cn=anna",
        b"SIP:anna@example.org",
        b"EUM:4711;phone-context=x",
        b"smtp: spaced@example.org ",
    ]
    tally = Tally()
    assert addresses({"proxyaddresses": values}, ["proxyAddresses"], tally) == [
        "anna@example.org",
        "a.b+c@sub.example.org",
        "spaced@example.org",
    ]
    assert tally == Tally()


@pytest.mark.parametrize(
    "value",
    [b"smtp:", b"smtp:anna", b"smtp:@example.org", b"smtp:a b@example.org", b"smtp:\xff\xfe@x", b"smtp:a@b@c..d"],
)
def test_a_value_that_is_no_address_costs_itself_only(value: bytes) -> None:
    tally = Tally()
    found = read({**MAIL, "proxyaddresses": [value, b"smtp:anna@example.org"]}, tally=tally)
    assert found is not None
    assert found.keys == (address_key(KEY, "anna@example.org"),)
    assert tally.addresses == 1
    assert "1 values" in tally.notes()[0]


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("anna@example.org.", "anna@example.org"),
        ('"Anna.B"@example.org', "anna.b@example.org"),
        ('"an\\ na"@example.org', '"an na"@example.org'),
        ("anna@B\u00dcCHER.example.", "anna@xn--bcher-kva.example"),
        ("a" * 200 + "@example.org", "a" * 200 + "@example.org"),
        ("o'brien@example.org", "O'Brien@Example.ORG"),
    ],
)
def test_an_address_is_found_however_it_is_written(written: str, asked: str) -> None:
    mailbox = parse_mailbox(asked)
    assert mailbox is not None
    found = addresses({"proxyaddresses": [f"smtp:{written}".encode()]}, ["proxyAddresses"], Tally())
    assert set(found) & set(address_forms(plain_local(mailbox.local), mailbox.domain_key))


def test_without_an_address_it_receives_nothing() -> None:
    assert read({"objectguid": [GUID]}) is None
    assert read({"proxyaddresses": [b"X500:/o=x"], "objectguid": [GUID]}) is None
    assert read({"mail": [b"anna@example.org"], "objectguid": [GUID]}) is None  # facts: mail is for display only


def test_mail_counts_where_the_configuration_says_so() -> None:
    found = read({"mail": [b"Anna@example.org"], "mailalternate": [b"b@example.org"]}, ("mail", "mailAlternate"))
    assert found is not None
    assert found.keys == (address_key(KEY, "anna@example.org"), address_key(KEY, "b@example.org"))


def test_a_domain_outside_ascii_is_known_in_both_forms() -> None:
    value = "smtp:anna@b\u00fccher.example".encode()
    found = addresses({"proxyaddresses": [value]}, ["proxyAddresses"], Tally())
    assert found == ["anna@b\u00fccher.example", "anna@xn--bcher-kva.example"]


def test_addresses_of_one_object_are_bounded() -> None:
    many = [b"smtp:a%d@example.org" % number for number in range(MAX_ADDRESSES + 5)]
    assert len(addresses({"proxyaddresses": many}, ["proxyAddresses"], Tally())) == MAX_ADDRESSES


def test_what_an_object_is_known_by() -> None:
    text = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    assert identity(b"cn=a", {"objectguid": [GUID], "entryuuid": [text.encode()]}) == GUID
    assert identity(b"cn=a", {"entryuuid": [text.encode()]}) == UUID(text).bytes
    assert identity(b"CN=A", {"entryuuid": [b"nonsense"]}) == identity(b"cn=a", {})
    assert identity(b"cn=a", {"objectguid": [b"short"]}) != identity(b"cn=b", {})


@pytest.mark.parametrize(("value", "expected"), [(b"TRUE", True), (b"true", True), (b"FALSE", False), (b"", False)])
def test_who_takes_no_mail_from_outside(value: bytes, expected: bool) -> None:
    found = read({**MAIL, "msexchrequireauthtosendto": [value]})
    assert found is not None
    assert found.internal_only is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"-2147483644", 4),
        (b"-2147483648", 0),
        (b"-2147483639", 9),
        (b"4", None),  # the threshold is there, and not in force
        (b"-2147483638", None),
        (b"2147483652", None),
        (b"-1", None),
        (b"four", None),
        (b"", None),
        (b"9" * 5000, None),
    ],
)
def test_a_threshold_counts_when_it_is_in_force(value: bytes, expected: int | None) -> None:
    for field, name in LIMITS.items():
        found = read({**MAIL, name.lower(): [value]})
        assert found is not None
        assert found.thresholds == Thresholds(**{field: expected})


@pytest.mark.parametrize("number", [16384, 8388608, 536870912, 536870912 | 1])
def test_mailboxes_of_exchange_itself_are_passed_over(number: int) -> None:
    tally = Tally()
    assert read({**MAIL, TYPE_DETAILS.lower(): [str(number).encode()]}, tally=tally) is None
    assert tally.system == 1


@pytest.mark.parametrize("number", [1, 2, 4, 16, 64, 128, 256, 2048, 4096, 2147483648, 34359738368])
def test_everybody_else_is_a_recipient(number: int) -> None:
    assert read({**MAIL, TYPE_DETAILS.lower(): [str(number).encode()]}) is not None


def test_hashes_of_safe_and_blocked_senders() -> None:
    lists = {SAFE.lower(): [bytes(range(12))], BLOCKED.lower(): [b"\1\2\3\4"]}
    found = read({**MAIL, **lists}, safelists=True)
    assert found is not None
    assert found.safe == (b"\0\1\2\3", b"\4\5\6\7", b"\x08\x09\x0a\x0b")
    assert found.blocked == (b"\1\2\3\4",)
    quiet = read({**MAIL, **lists})
    assert quiet is not None
    assert (quiet.safe, quiet.blocked) == ((), ())


def test_a_list_of_an_odd_length_is_noted_and_passed_over() -> None:
    tally = Tally()
    found = read({**MAIL, SAFE.lower(): [b"12345"]}, safelists=True, tally=tally)
    assert found is not None
    assert found.safe == ()
    assert tally.lists == 1


def test_senders_are_asked_for_only_when_they_are_used() -> None:
    assert SAFE not in wanted(["proxyAddresses"], safelists=False)
    assert {SAFE, BLOCKED} < set(wanted(["proxyAddresses"], safelists=True))


@pytest.mark.parametrize(
    ("name", "flags", "expected"),
    [
        (b"Contoso.com", b"0", AcceptedDomain("contoso.com")),
        (b"contoso.com", b"4", AcceptedDomain("contoso.com")),  # the default domain
        (b"contoso.com", b"1", AcceptedDomain("contoso.com", DomainType.EXTERNAL_RELAY)),
        (b"contoso.com", b"2", AcceptedDomain("contoso.com", DomainType.INTERNAL_RELAY)),
        (b"contoso.com", b"6", AcceptedDomain("contoso.com", DomainType.INTERNAL_RELAY)),
        (
            b"contoso.com",
            b"3",
            AcceptedDomain("contoso.com", DomainType.INTERNAL_RELAY),
        ),  # nobody knows it: refuse nobody
        (b"*.contoso.com", b"0", AcceptedDomain("contoso.com", subdomains=True)),
        ("b\u00fccher.example".encode(), b"", AcceptedDomain("xn--bcher-kva.example")),
        (b"*", b"2", None),
        (b"", b"0", None),
        (b"a b", b"0", None),
    ],
)
def test_accepted_domains(name: bytes, flags: bytes, expected: AcceptedDomain | None) -> None:
    assert accepted_domain({DOMAIN_NAME.lower(): [name], DOMAIN_FLAGS.lower(): [flags]}) == expected


def test_protected_people() -> None:
    found = person({**MAIL, "displayname": [" J\u00fcrgen Boss ".encode()]}, ["proxyAddresses"], Tally())
    assert found is not None
    assert (found.name, found.addresses) == ("J\u00fcrgen Boss", ("anna@example.org",))
    for name in (b"", b"   ", b"\x01x", b"x" * 300):
        assert person({**MAIL, "displayname": [name]}, ["proxyAddresses"], Tally()) is None


NAMES = [
    name.lower()
    for name in (*wanted(["proxyAddresses", "mail"], safelists=True), DOMAIN_NAME, DOMAIN_FLAGS, "displayName")
]


@given(
    st.dictionaries(st.sampled_from(NAMES), st.lists(st.binary(max_size=60) | st.just(b"smtp:a@b.example"), max_size=4))
)
def test_any_octets_are_taken(attributes: dict[str, list[bytes]]) -> None:
    found = read(attributes, ("proxyAddresses", "mail"), safelists=True)
    if found is not None:
        assert len(found.id) == 16
        assert found.keys
        assert all(len(key) == 16 for key in found.keys)
        assert all(len(sender) == 4 for sender in (*found.safe, *found.blocked))
    accepted_domain(attributes)
    person(attributes, ("proxyAddresses",), Tally())


def test_reading_takes_linear_time() -> None:
    def many(count: int) -> Callable[[], object]:
        attributes = {**MAIL, "proxyaddresses": [b"smtp:a.b%d@example.org" % number for number in range(count)]}
        return lambda: read(attributes)

    def long(count: int) -> Callable[[], object]:
        values = [b"smtp:" + b"a." * count + b"@example.org", b"a" * count + b":x", b"smtp:" + b"a@" * count]
        return lambda: addresses({"proxyaddresses": values}, ["proxyAddresses"], Tally())

    assert_growth(many, 500, 4000, 20)
    assert_growth(long, 5000, 40_000, 20)
