"""What one message asked DNS: bounded, written down, and enough to run the same checks again without DNS."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.lookups import MAX_RECORDED, Lookups, RecordedResolver
from filterd.ports import DnsAnswer, DnsStatus, Resolver
from tests.support.dns import MapResolver

RECORDS = {
    ("example.com", "TXT"): ["v=spf1 -all", "caf\xe9"],
    ("example.com", "A"): ["192.0.2.1"],
    ("below.sub.example.com", "A"): ["192.0.2.2"],
}
QUESTIONS = [
    ("Example.com.", "txt"),
    ("example.com", "A"),
    ("sub.example.com", "A"),
    ("nothing.example.com", "MX"),
    ("broken.example.com", "A"),
]


def outcome(resolver: Resolver, name: str, rdtype: str) -> DnsAnswer | str:
    """The answer, or the kind of failure."""
    try:
        return asyncio.run(resolver.query(name, rdtype, Deadline.after(5)))
    except TemporaryError as error:
        return error.kind


def test_what_was_answered_is_answered_again_without_dns() -> None:
    live = MapResolver(RECORDS, {"broken.example.com"}, kind="servfail")
    lookups = Lookups()
    first = [outcome(lookups.of(live), name, rdtype) for name, rdtype in QUESTIONS]
    recorded = json.loads(json.dumps(lookups.record()))
    assert [outcome(RecordedResolver(recorded), name, rdtype) for name, rdtype in QUESTIONS] == first
    assert [entry["status"] for entry in recorded] == ["noerror", "noerror", "nodata", "nxdomain", "servfail"]
    assert outcome(RecordedResolver(recorded), "other.example.com", "A") == "unrecorded"


def test_the_same_question_counts_once_and_one_too_many_is_unknown() -> None:
    live = MapResolver(RECORDS)
    lookups = Lookups(budget=2)
    resolver = lookups.of(live)
    for _ in range(3):
        assert isinstance(outcome(resolver, "example.com", "A"), DnsAnswer)
        assert isinstance(outcome(resolver, "EXAMPLE.com.", "txt"), DnsAnswer)
    assert outcome(resolver, "third.example.com", "A") == "budget"
    assert ("third.example.com", "A") not in live.asked
    assert lookups.asked == 2


def test_an_answer_is_not_replaced_by_the_failure_of_a_hastier_question() -> None:
    live = MapResolver(RECORDS)
    lookups = Lookups()
    assert isinstance(outcome(lookups.of(live), "example.com", "A"), DnsAnswer)
    live.failing.add("example.com")
    assert outcome(lookups.of(live), "example.com", "A") == "servfail"
    assert [entry["status"] for entry in lookups.record()] == ["noerror"]
    live.failing.clear()
    assert outcome(lookups.of(MapResolver({}, {"later.example"})), "later.example", "A") == "servfail"
    assert outcome(lookups.of(MapResolver({("later.example", "A"): ["192.0.2.3"]})), "later.example", "A") != "servfail"
    assert [entry["status"] for entry in lookups.record()] == ["noerror", "noerror"]


def test_an_answer_of_the_connection_is_not_replaced_by_a_failure_of_the_transaction() -> None:
    failure: dict[str, Any] = {"name": "example.com", "type": "A", "status": "timeout"}
    answer = {**failure, "status": "noerror", "records": ["192.0.2.1"], "ttl": 60, "authentic": False}
    other = {**answer, "records": ["192.0.2.2"]}
    cut = {**failure, "status": "noerror", "cut": True, "ttl": 60, "authentic": False}
    for recorded in ([failure, answer], [answer, failure], [cut, answer], [answer, cut]):
        found = outcome(RecordedResolver(recorded), "example.com", "A")
        assert isinstance(found, DnsAnswer)
        assert found.records == ("192.0.2.1",)
    found = outcome(RecordedResolver([answer, other]), "example.com", "A")
    assert isinstance(found, DnsAnswer)
    assert found.records == ("192.0.2.2",)  # the later one


def test_a_name_that_only_looks_like_another_in_lower_case_does_not_take_its_place() -> None:
    lookups = Lookups()
    live = MapResolver({("k.example", "A"): ["192.0.2.1"]})
    outcome(lookups.of(live), "\u212a.example", "A")  # KELVIN SIGN
    answer = outcome(lookups.of(live), "k.example", "A")
    assert outcome(RecordedResolver(lookups.record()), "k.example", "A") == answer
    assert lookups.asked == 2


def test_a_share_bounds_who_gets_it_and_not_the_others() -> None:
    lookups = Lookups(budget=10)
    live = MapResolver({})
    part = lookups.of(live, 0.3)
    kinds = [outcome(part, f"n{number % 4}.example", "A") for number in range(8)]
    assert [kind for kind in kinds if isinstance(kind, str)] == ["budget"] * 2  # the fourth name, twice
    for number in range(7):
        assert isinstance(outcome(lookups.of(live), f"m{number}.example", "A"), DnsAnswer)
    assert outcome(lookups.of(live), "one-too-many.example", "A") == "budget"


def test_a_hostile_zone_does_not_fill_the_record() -> None:
    zone = {(f"n{i}.example", "TXT"): ["x" * 4000] for i in range(40)}
    lookups = Lookups()
    for name, rdtype in zone:
        assert isinstance(outcome(lookups.of(MapResolver(zone)), name, rdtype), DnsAnswer)
    recorded = lookups.record()
    assert sum(len(text) for entry in recorded for text in entry.get("records", ())) <= MAX_RECORDED
    assert len([entry for entry in recorded if entry.get("cut")]) == 40 - MAX_RECORDED // 4000
    assert outcome(RecordedResolver(recorded), "n39.example", "TXT") == "unrecorded"
    again = Lookups()
    for _ in range(40):
        outcome(again.of(MapResolver(zone)), "n0.example", "TXT")
    assert "cut" not in again.record()[0]  # an answer takes its room once


@given(
    st.sampled_from(DnsStatus),
    st.lists(st.text(st.characters(max_codepoint=255), max_size=300), max_size=5),
    st.integers(0, 3600),
    st.booleans(),
)
def test_every_answer_survives_the_way_through_json(
    status: DnsStatus, records: list[str], ttl: int, authentic: bool
) -> None:
    answer = DnsAnswer(status, tuple(records), ttl, authentic)
    lookups = Lookups()
    lookups.note(("example.com", "TXT"), answer)
    again = RecordedResolver(json.loads(json.dumps(lookups.record())))
    assert outcome(again, "example.com", "TXT") == answer


@pytest.mark.parametrize("kind", ["timeout", "servfail", "refused", "unreachable", "busy", "broken", "budget"])
def test_failures_stay_apart(kind: str) -> None:
    lookups = Lookups()
    assert outcome(lookups.of(MapResolver({}, {"example.com"}, kind=kind)), "example.com", "A") == kind
    assert outcome(RecordedResolver(lookups.record()), "example.com", "A") == kind
