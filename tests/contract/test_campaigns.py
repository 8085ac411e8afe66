"""Owns the contract of ports.Campaigns: the same tests run on the double and on the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filterd.config import CampaignsConfig
from filterd.ports import Campaigns
from filterd.storage.campaigns import SqlCampaigns
from tests.support.campaigns import HOUR, NOW, bins, exact, sighting, sighting_of
from tests.support.doubles import MemoryCampaigns
from tests.support.storage import make_database, make_postgres

# A second process that looks into the same index, or the same one where there is only one.
Nodes = tuple[Campaigns, Campaigns]


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.server("postgres"))])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    if request.param == "memory":
        memory = MemoryCampaigns()
        yield memory, memory
        return
    if request.param == "postgresql":
        db = make_postgres(request.getfixturevalue("postgres"), tmp_path)
    else:
        db = make_database(tmp_path)
    yield SqlCampaigns(db, CampaignsConfig()), SqlCampaigns(db, CampaignsConfig())
    db.close()


def campaign(index: Campaigns, id: str) -> str:
    found = index.of_message(id)
    assert found is not None
    return found.campaign


def counts(index: Campaigns, id: str) -> tuple[int, int, int]:
    found = index.of_message(id)
    assert found is not None
    return found.like_hour, found.like_day, found.messages


def test_a_message_that_nothing_is_like_is_a_campaign_of_its_own(nodes: Nodes) -> None:
    nodes[0].add([sighting("A", 1), sighting("B", 2)])
    assert [campaign(nodes[1], id) for id in "AB"] == ["A", "B"]
    assert counts(nodes[1], "A") == (0, 0, 1)


def test_what_was_not_counted_has_no_campaign(nodes: Nodes) -> None:
    assert nodes[0].of_message("A") is None


def test_near_duplicates_belong_together_on_every_node(nodes: Nodes) -> None:
    nodes[0].add([sighting("A", 1)])
    nodes[1].add([sighting("B", 1, changed=10)])
    nodes[0].add([sighting("C", 1, changed=32)])
    assert [campaign(nodes[1], id) for id in "ABC"] == ["A"] * 3
    assert counts(nodes[0], "C") == (2, 2, 3)


def test_near_duplicates_of_one_batch_belong_together(nodes: Nodes) -> None:
    nodes[0].add([sighting("A", 1), sighting("B", 2), sighting("C", 1, changed=5), sighting("D", 2, changed=5)])
    assert [campaign(nodes[0], id) for id in "ABCD"] == ["A", "B", "A", "B"]
    assert [counts(nodes[0], id)[0] for id in "ABCD"] == [0, 0, 1, 1]


def test_more_than_half_must_be_the_same(nodes: Nodes) -> None:
    nodes[0].add([sighting("A", 1), sighting("B", 1, changed=33)])
    assert campaign(nodes[0], "B") == "B"


def test_a_campaign_is_what_is_like_its_first_message(nodes: Nodes) -> None:
    """Or small changes would lead from anything to anything."""
    first, second = bins(1), bins(1)[:34] + bins(2)[34:]
    third = first[:8] + bins(3)[8:34] + second[34:]  # 38 of 64 as in the second, 8 as in the first
    for id, values in zip("ABC", (first, second, third), strict=True):
        nodes[0].add([sighting_of(id, values)])
    assert [campaign(nodes[1], id) for id in "ABC"] == ["A", "A", "C"]


def test_of_several_the_nearest_is_chosen(nodes: Nodes) -> None:
    nodes[0].add([sighting_of("A", bins(1))])
    nodes[0].add([sighting_of("B", bins(1)[:30] + bins(2)[30:])])
    nodes[0].add([sighting_of("C", bins(1)[:20] + bins(2)[20:])])  # 20 as in A, 54 as in B
    assert [campaign(nodes[0], id) for id in "ABC"] == ["A", "B", "B"]


def test_little_text_must_be_the_same(nodes: Nodes) -> None:
    nodes[0].add([exact("A", 5), exact("B", 5), exact("C", 6), sighting("D", 5)])
    assert [campaign(nodes[0], id) for id in "ABCD"] == ["A", "A", "C", "D"]


def test_a_key_alone_does_not_join_texts_of_different_kinds(nodes: Nodes) -> None:
    text = sighting("A", 1)
    nodes[0].add([text, exact("B", text.keys[0])])
    assert campaign(nodes[0], "B") == "B"


def test_a_message_is_counted_once(nodes: Nodes) -> None:
    nodes[0].add([sighting("A", 1)])
    nodes[0].add([sighting("A", 1), sighting("B", 1)])
    nodes[1].add([sighting("B", 1)])
    assert counts(nodes[0], "A") == (0, 0, 2)
    assert counts(nodes[0], "B") == (1, 1, 2)


def test_like_messages_are_counted_by_hour_and_day(nodes: Nodes) -> None:
    times = {"A": NOW - 25 * HOUR, "B": NOW - 24 * HOUR, "C": NOW - 2 * HOUR, "D": NOW - HOUR, "E": NOW - 1, "F": NOW}
    for number, (id, at_ms) in enumerate(times.items()):
        nodes[number % 2].add([sighting(id, 1, at_ms=at_ms)])
    assert [counts(nodes[0], id)[:2] for id in "ABCDEF"] == [(0, 0), (1, 1), (0, 2), (1, 3), (2, 4), (2, 4)]


def test_what_came_later_does_not_count_for_what_came_before(nodes: Nodes) -> None:
    nodes[0].add([sighting("A", 1, at_ms=NOW + 3 * HOUR)])
    nodes[0].add([sighting("B", 1, at_ms=NOW)])
    assert counts(nodes[0], "B") == (0, 0, 2)


def test_nothing_at_all_may_be_added(nodes: Nodes) -> None:
    nodes[0].add([])
    assert nodes[0].of_message("A") is None


def test_hostile_texts_and_the_ends_of_numbers(nodes: Nodes) -> None:
    hostile = "\0\ud800'\"%" + "x" * 10_000
    nodes[0].add([sighting("A", 1, subject=hostile, header_from=hostile)])
    nodes[0].add([exact("B", -(2**63)), exact("C", 2**63 - 1), exact("D", -(2**63))])
    assert [campaign(nodes[0], id) for id in "ABCD"] == ["A", "B", "C", "B"]


Step = tuple[int, int, int, int]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 30), st.integers(1, 4)), max_size=25))
def test_the_real_one_says_what_the_double_says(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    """In whatever batches it is told."""
    db = make_database(tmp_path_factory.mktemp("campaigns"))
    real, double = SqlCampaigns(db, CampaignsConfig()), MemoryCampaigns()
    seen = [sighting(f"M{n:02}", text, changed, NOW + hour * HOUR) for n, (text, changed, hour, _) in enumerate(steps)]
    position = 0
    for *_, size in steps:
        batch = seen[position : position + size]
        real.add(batch)
        double.add(batch)
        position += size
    assert [real.of_message(one.message_id) for one in seen] == [double.of_message(one.message_id) for one in seen]
    db.close()
