"""Accepted domains of several sources as one: which counts, what lies below, who is ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.directory.domains import (
    AcceptedDomains,
    address_form,
    address_forms,
    own_domains,
    plain_local,
    postmasters,
)
from filterd.directory.values import AcceptedDomain, DomainType
from tests.support.growth import assert_growth

OURS, RELAY, FOREIGN = DomainType.AUTHORITATIVE, DomainType.INTERNAL_RELAY, DomainType.EXTERNAL_RELAY


def kind(domains: AcceptedDomains, name: str) -> DomainType | None:
    found = domains.find(name)
    return found.type if found else None


def test_subdomains_belong_to_the_nearest_one_that_takes_them() -> None:
    domains = AcceptedDomains(
        others=[
            AcceptedDomain("contoso.com", OURS, subdomains=True),
            AcceptedDomain("eu.contoso.com", RELAY, subdomains=True),
            AcceptedDomain("shop.contoso.com", FOREIGN),
            AcceptedDomain("fabrikam.com"),
        ]
    )
    assert kind(domains, "contoso.com") is OURS
    assert kind(domains, "a.b.contoso.com") is OURS
    assert kind(domains, "de.eu.contoso.com") is RELAY
    assert kind(domains, "shop.contoso.com") is FOREIGN
    assert kind(domains, "x.shop.contoso.com") is OURS
    assert kind(domains, "x.fabrikam.com") is None
    assert kind(domains, "notcontoso.com") is None
    assert kind(domains, "com") is None


def test_a_name_with_and_without_a_star_are_two_domains() -> None:
    one, star = AcceptedDomain("contoso.com", OURS), AcceptedDomain("contoso.com", RELAY, subdomains=True)
    for order in ([one, star], [star, one]):
        domains = AcceptedDomains(others=order)
        assert (kind(domains, "contoso.com"), kind(domains, "x.contoso.com")) == (OURS, RELAY)


@pytest.mark.parametrize("relay", [RELAY, FOREIGN])
def test_a_domain_that_is_only_named_is_not_looked_up_where_exchange_does_not(relay: DomainType) -> None:
    """`accepted_domains` was written on the first day; that some of its mailboxes are elsewhere is known to Exchange."""
    named = [AcceptedDomain("contoso.com"), AcceptedDomain("own.example")]
    learned = [AcceptedDomain("contoso.com", relay), AcceptedDomain("own.example")]
    domains = AcceptedDomains(named, learned)
    assert kind(domains, "contoso.com") is RELAY  # nobody is unknown, and it is still protected as ours
    assert kind(domains, "own.example") is OURS
    assert domains.all == (AcceptedDomain("contoso.com", RELAY), AcceptedDomain("own.example"))
    below = AcceptedDomains(named, [AcceptedDomain("contoso.com"), AcceptedDomain("contoso.com", relay, True)])
    assert kind(below, "contoso.com") is OURS
    assert kind(below, "a.contoso.com") is RELAY


def test_the_configuration_says_of_what_type_its_domains_are() -> None:
    learned = [AcceptedDomain("contoso.com", OURS, subdomains=True), AcceptedDomain("fabrikam.com", RELAY)]
    domains = AcceptedDomains([AcceptedDomain("contoso.com", FOREIGN), AcceptedDomain("own.example")], learned)
    assert (kind(domains, "contoso.com"), kind(domains, "x.contoso.com")) == (FOREIGN, FOREIGN)
    assert kind(domains, "fabrikam.com") is RELAY
    assert [item.name for item in domains.all][:2] == ["contoso.com", "own.example"]
    assert own_domains(domains.all) == {"own.example", "fabrikam.com"}


def test_a_name_in_letters_is_found_in_both_forms() -> None:
    domains = AcceptedDomains([AcceptedDomain("m\u00fcller.example")])
    assert domains.find("m\u00fcller.example") == domains.find("xn--mller-kva.example") is not None
    assert domains.is_ours("xn--mller-kva.example")
    assert own_domains(domains.all) == {"xn--mller-kva.example"}


def test_what_a_directory_has_in_a_labels_is_found_in_letters() -> None:
    """As it comes by SMTPUTF8: refused, it would be mail for one of our own domains."""
    domains = AcceptedDomains(others=[AcceptedDomain("xn--mller-kva.example", subdomains=True)])
    for name in ("m\u00fcller.example", "M\u00dcLLER.example", "a.m\u00fcller.example"):
        assert domains.is_ours(name)
    assert not domains.is_ours("mu\u0308ll.example")


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Anna", "Anna"),
        ('"Anna.B"', "Anna.B"),
        ('"a\\nna"', "anna"),
        ('"an na"', '"an na"'),
        ('"a..b"', '"a..b"'),
        ('"a@b"', '"a@b"'),
        ('"\\"x\\""', '"\\"x\\""'),
        ('"an\\ na"', '"an na"'),
        ('"an\\\\ na"', '"an\\\\ na"'),
        ('""', '""'),
        ('"', '"'),
    ],
)
def test_quotes_go_where_they_are_not_needed(written: str, plain: str) -> None:
    assert plain_local(written) == plain


def test_what_is_passed_on_for_others_is_not_ours() -> None:
    domains = AcceptedDomains([AcceptedDomain("partner.example", FOREIGN)])
    assert domains
    assert domains.find("partner.example") is not None
    assert not domains.is_ours("partner.example")
    assert not domains.is_ours("")
    assert not AcceptedDomains()


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ([AcceptedDomain("p.example", FOREIGN), AcceptedDomain("a.example")], {"filter.example": "a.example"}),
        ([AcceptedDomain("filter.example")], {}),
        ([AcceptedDomain("p.example", FOREIGN)], {}),
    ],
)
def test_our_own_names_have_the_postmaster_of_a_domain_of_ours(
    accepted: list[AcceptedDomain], expected: dict[str, str]
) -> None:
    assert postmasters(("filter.example", None, ""), accepted) == expected


def test_forms_of_an_address() -> None:
    assert address_forms("Anna", "example.org") == ("anna@example.org",)
    assert address_forms("anna", "xn--mller-kva.example")[1] == "anna@m\u00fcller.example"
    assert address_forms("anna", "m\u00fcller.example")[0] == "anna@xn--mller-kva.example"


@given(st.text(max_size=40), st.text(max_size=80))
def test_any_text_has_forms_and_is_looked_for(local: str, domain: str) -> None:
    assert plain_local(plain_local(local)) == plain_local(local)
    assert address_form(local, domain) in address_forms(local, domain)
    AcceptedDomains([AcceptedDomain("example.org", subdomains=True)]).find(domain)


def test_a_long_name_is_looked_for_in_linear_time() -> None:
    domains = AcceptedDomains([AcceptedDomain("example.org", subdomains=True)])
    assert_growth(lambda size: lambda: [domains.find("a." * size) for _ in range(20)], 30, 120, 12)
