"""Reverse DNS: a confirmed name, no name, a name of somebody else, and no answer."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from filterd.checks.rdns import MAX_NAMES, Rdns
from filterd.errors import TemporaryError
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context
from tests.support.dns import MapResolver

POINTER = "7.2.0.192.in-addr.arpa"
SIX = replace(CLIENT, client_ip=ip_address("2001:db8::7"))
POINTER_SIX = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"


def found(records: dict[tuple[str, str], list[str]], failing: tuple[str, ...] = ()) -> Evidence:
    (item,) = ask(Rdns(MapResolver(records, failing)), context(SIX if (POINTER_SIX, "PTR") in records else CLIENT))
    return item


def test_a_confirmed_name() -> None:
    item = found({(POINTER, "PTR"): ["Mail.Client.Example"], ("mail.client.example", "A"): ["192.0.2.6", "192.0.2.7"]})
    assert (item.result, item.reason, item.scope) == (Result.PASS, Reason.OK, Scope.CONNECTION)
    assert item.properties["client_name"] == "mail.client.example"


def test_ipv6_is_confirmed_by_aaaa() -> None:
    records = {
        (POINTER_SIX, "PTR"): ["six.example"],
        ("six.example", "AAAA"): ["2001:db8:0:0::7"],
        ("six.example", "A"): ["192.0.2.7"],
    }
    assert found(records).properties["client_name"] == "six.example"
    assert found({**records, ("six.example", "AAAA"): ["2001:db8::8"]}).reason is Reason.PTR_UNCONFIRMED


def test_the_first_confirmed_name_of_several() -> None:
    records = {
        (POINTER, "PTR"): ["other.example", "b.example", "c.example"],
        ("other.example", "A"): ["192.0.2.9"],
        ("b.example", "A"): ["192.0.2.7"],
        ("c.example", "A"): ["192.0.2.7"],
    }
    assert found(records).properties["client_name"] == "b.example"
    assert found(records, ("other.example",)).reason is Reason.OK, "one failing name does not hide another"


@pytest.mark.parametrize("name", ["a\\032b.example", "mail_\\010.example", "-.example", "*.example"])
def test_what_is_no_host_name_is_not_written_into_received(name: str) -> None:
    item = found({(POINTER, "PTR"): [name], (name, "A"): ["192.0.2.7"]})
    assert (item.reason, "client_name" in item.properties) == (Reason.PTR_UNCONFIRMED, False)


@pytest.mark.parametrize("records", [{}, {("x." + POINTER, "A"): ["192.0.2.1"]}])
def test_no_name(records: dict[tuple[str, str], list[str]]) -> None:
    item = found(records)
    assert (item.result, item.reason) == (Result.PERMERROR, Reason.NO_PTR)  # RFC 8601 2.7.3


@pytest.mark.parametrize(
    "names",
    [["other.example"], ["a\\032b.example"], ["."], ["x" * 64 + ".example"], ["nothing.example", "other.example"]],
)
def test_a_name_that_is_not_confirmed(names: list[str]) -> None:
    item = found({(POINTER, "PTR"): names, ("other.example", "A"): ["192.0.2.9"]})
    assert (item.reason, item.properties.get("client_name")) == (Reason.PTR_UNCONFIRMED, None)


def test_names_beyond_the_bound_are_not_asked_for() -> None:
    names = [f"n{number}.example" for number in range(100)]
    resolver = MapResolver({(POINTER, "PTR"): names, ("n99.example", "A"): ["192.0.2.7"]})
    (item,) = ask(Rdns(resolver), context())
    assert item.reason is Reason.PTR_UNCONFIRMED
    assert len(resolver.asked) == 1 + MAX_NAMES


def test_what_cannot_be_asked_is_unknown_not_guilty() -> None:
    (item,) = ask(
        Rdns(
            MapResolver(
                {(POINTER, "PTR"): ["a.example", "b.example"], ("b.example", "A"): ["192.0.2.9"]}, ("a.example",)
            )
        ),
        context(),
    )
    assert (item.result, item.reason) == (Result.TEMPERROR, Reason.UNAVAILABLE)
    with pytest.raises(TemporaryError):  # which the guard around every check turns into the same evidence
        ask(Rdns(MapResolver({}, (POINTER,))), context())


def test_internal_and_allow_listed_clients_are_not_asked_about() -> None:
    resolver = MapResolver()
    assert ask(Rdns(resolver), context(replace(CLIENT, trust=TrustClass.INTERNAL))) == []
    assert ask(Rdns(resolver), context(evidence=(ALLOW_LISTED,))) == []
    assert resolver.asked == []
