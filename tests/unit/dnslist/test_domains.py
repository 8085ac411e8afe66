"""Lists of domains: their questions, answers and test names."""

from __future__ import annotations

import asyncio

import pytest

from filterd.config import UrlZoneConfig
from filterd.deadline import Deadline
from filterd.dnslist.domains import ask_domain, domain_query, find_domain_problem
from filterd.dnslist.protocol import Meaning, Problem
from filterd.errors import TemporaryError
from tests.support.dns import MapResolver

TEST, INVALID = "test.bl.example", "invalid.bl.example"
LISTED = ["127.0.1.2"]


def test_names_as_they_are_and_addresses_backwards() -> None:
    assert domain_query("www.evil.example", "bl.example") == "www.evil.example.bl.example"
    assert domain_query("192.0.2.1", "bl.example") == "1.2.0.192.bl.example"


@pytest.mark.parametrize(
    ("answer", "zone", "meaning"),
    [
        (["127.0.1.2"], {}, Meaning.LISTED),
        (["127.0.0.2"], {}, Meaning.LISTED),
        ([], {}, Meaning.NOT_LISTED),
        (["192.0.2.1"], {"return_codes": ("0.0.0.0/0",)}, Meaning.NOT_LISTED),
        (["127.0.1.102"], {"return_codes": ("127.0.1.2/31",)}, Meaning.NOT_LISTED),
        (["127.0.0.80"], {"bitmask": 64}, Meaning.LISTED),
        (["127.0.0.16"], {"bitmask": 64}, Meaning.NOT_LISTED),
        (["127.255.255.254"], {}, Meaning.REFUSED),
        (["127.0.0.1"], {}, Meaning.REFUSED),  # SURBL, URIBL: blocked
        (["127.0.1.255"], {}, Meaning.REFUSED),  # Spamhaus DBL: asked for an address
    ],
)
def test_meaning(answer: list[str], zone: dict[str, object], meaning: Meaning) -> None:
    config = UrlZoneConfig(zone="bl.example", **zone)  # type: ignore[arg-type]  # from the table
    resolver = MapResolver({("evil.com.bl.example", "A"): answer})
    found = asyncio.run(ask_domain(config, "evil.com", resolver, Deadline.after(5)))
    assert found.meaning is meaning


@pytest.mark.parametrize(
    ("records", "failing", "problem"),
    [
        ({TEST: LISTED}, (), None),
        ({}, (), "test entry"),
        ({TEST: ["192.0.2.1"]}, (), "test entry"),
        ({TEST: LISTED, INVALID: LISTED}, (), "must never be listed"),
        ({TEST: ["192.0.2.1"], INVALID: ["192.0.2.1"]}, (), "must never be listed"),
        ({INVALID: LISTED}, (TEST,), "must never be listed"),
        ({TEST: ["127.255.255.254"]}, (), "refuses"),
        ({TEST: ["127.0.0.1"]}, (), "refuses"),
        ({TEST: ["127.0.0.1"]}, (INVALID,), "refuses"),
    ],
)
def test_test_names(records: dict[str, list[str]], failing: tuple[str, ...], problem: str | None) -> None:
    found = find(records, failing)
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert problem in found.text
        assert found.remedy


@pytest.mark.parametrize("failing", [TEST, INVALID])
def test_a_test_without_answer_is_no_finding(failing: str) -> None:
    with pytest.raises(TemporaryError, match=r"test names of bl\.example"):
        find({TEST: LISTED}, (failing,))


def test_test_names_of_zones_that_have_others() -> None:
    zone = UrlZoneConfig(zone="multi.surbl.example", test_listed="surbl-org-permanent-test-point.com")
    resolver = MapResolver({("surbl-org-permanent-test-point.com.multi.surbl.example", "A"): ["127.0.0.126"]})
    assert asyncio.run(find_domain_problem(zone, resolver, Deadline.after(5))) is None


def find(records: dict[str, list[str]], failing: tuple[str, ...]) -> Problem | None:
    resolver = MapResolver({(name, "A"): answer for name, answer in records.items()}, failing)
    return asyncio.run(find_domain_problem(UrlZoneConfig(zone="bl.example"), resolver, Deadline.after(5)))
