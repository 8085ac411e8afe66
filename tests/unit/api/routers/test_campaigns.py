"""Campaigns over HTTP: groups in the quarantine, counts by hour, all held messages of one at once, one report for each."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import pytest

from filterd.config import CampaignsConfig
from filterd.content.fingerprint import fingerprint
from filterd.mail.message import Message
from filterd.ports import UPSTREAM_REFUSED, CampaignSighting, TerminalState
from filterd.storage import pins, quarantine, reports
from filterd.storage.campaigns import SqlCampaigns
from filterd.storage.custody import SqlCustody
from tests.support.campaigns import HOUR, sighting
from tests.support.sideservice import Side
from tests.support.storage import evidence, held, keep, message, outcomes

TEXT = b"your parcel is waiting at our depot because the customs fee was not paid please confirm your address and pay "


def kept(side: Side, text: int, count: int, state: TerminalState = TerminalState.QUARANTINED) -> list[str]:
    """Ids of messages that are alike, oldest first."""
    records = [message() for _ in range(count)]
    keep(side.database, *records, state=state)
    add(side, *(sighting(record.id, text, at_ms=record.received_ms, state=state) for record in records))
    return [record.id for record in records]


def add(side: Side, *sightings: CampaignSighting) -> None:
    SqlCampaigns(side.database, CampaignsConfig()).add(sightings)


def test_the_list_and_its_pages(side: Side) -> None:
    one, other = kept(side, 1, 3), kept(side, 2, 2, TerminalState.REJECTED)
    kept(side, 3, 1)
    page = side.json("GET", "/v1/campaigns?limit=1", "read")
    assert [(item["id"], item["messages"], item["rejected"], item["held"]) for item in page["items"]] == [
        (other[0], 2, 2, 0)
    ]
    page = side.json("GET", f"/v1/campaigns?limit=1&cursor={page['next_cursor']}", "read")
    assert [(item["id"], item["messages"], item["quarantined"], item["held"]) for item in page["items"]] == [
        (one[0], 3, 3, 3)
    ]
    assert page["next_cursor"] is None
    held = side.json("GET", "/v1/campaigns?held=true", "read")["items"]
    assert [item["id"] for item in held] == [one[0]]


def test_one_has_its_hours(side: Side) -> None:
    ids = kept(side, 1, 2)
    found = side.json("GET", f"/v1/campaigns/{ids[0]}", "read")
    assert (found["subject"], found["reports"]) == ("offer", {})
    (hour,) = found["hours"]
    assert hour["begin_ms"] % HOUR == 0
    assert (hour["forwarded"], hour["quarantined"], hour["rejected"]) == (0, 2, 0)


def test_members_stand_in_quarantine_and_trace(side: Side) -> None:
    ids = kept(side, 1, 2)
    kept(side, 2, 2)
    for path in (f"/v1/quarantine?campaign={ids[0]}", f"/v1/trace?campaign={ids[0]}"):
        assert [item["id"] for item in side.json("GET", path, "read")["items"]] == ids[::-1]
    assert side.json("GET", f"/v1/quarantine/{ids[1]}", "read")["campaign"] == ids[0]
    trace = side.json("GET", f"/v1/trace/{ids[1]}", "read")
    assert trace["campaign"] == {"campaign": ids[0], "like_hour": 1, "like_day": 1, "messages": 2}


def test_all_held_messages_are_released_at_once(side: Side) -> None:
    ids, other = kept(side, 1, 3), kept(side, 2, 1)
    quarantine.delete(side.database, ids[0], "anna")
    found = side.json("POST", f"/v1/campaigns/{ids[0]}/release", "quarantine")
    assert found == {"id": ids[0], "done": ids[1:], "refused": [], "held": 0}
    states = [quarantine.get(side.database, id) for id in (*ids, *other)]
    assert [item.state.value for item in states if item] == ["deleted", *["release requested"] * 2, "held"]
    assert side.json("POST", f"/v1/campaigns/{ids[0]}/release", "quarantine")["done"] == []


def test_all_held_messages_are_deleted_in_steps(side: Side) -> None:
    ids = kept(side, 1, 3)
    found = side.json("POST", f"/v1/campaigns/{ids[0]}/delete", "quarantine", json={"limit": 2})
    assert found == {"id": ids[0], "done": ids[:2], "refused": [], "held": 1}
    found = side.json("POST", f"/v1/campaigns/{ids[0]}/delete", "quarantine", json={"limit": 2})
    assert (found["done"], found["held"]) == (ids[2:], 0)
    assert not any(item.has_body for item in quarantine.list_quarantine(side.database).items)


def test_what_its_state_does_not_allow_is_left_and_named(side: Side) -> None:
    record = message("anna@example.net", "berta@example.net")
    keep(side.database, record)
    add(side, sighting(record.id, 1, at_ms=record.received_ms))
    ids = [record.id, *kept(side, 1, 1)]
    quarantine.release(side.database, record.id, ["anna@example.net"], "carl")
    found = side.json("POST", f"/v1/campaigns/{record.id}/delete", "quarantine")
    assert found["done"] == ids[1:]
    assert found["held"] == 1
    assert found["refused"][0]["id"] == record.id
    assert "outbox" in found["refused"][0]["problem"]


def kept_with(side: Side, text: int, check: str, result: str = "fail") -> str:
    """Id of a held message in which that check found something."""
    record = message()
    found = {"check": check, "reason": "x", "result": result}

    async def finish() -> None:
        custody = SqlCustody(side.database)
        noted = replace(evidence(), evidence=[found])
        await custody.finish(record, outcomes(record, TerminalState.QUARANTINED), noted, held(record))
        custody.close()

    asyncio.run(finish())
    add(side, sighting(record.id, text, at_ms=record.received_ms, state=TerminalState.QUARANTINED))
    return record.id


@pytest.mark.parametrize("check", ["malware", "attachments", "url_lists"])
def test_a_copy_of_a_newsletter_with_a_file_or_link_of_its_own_is_not_released_with_it(side: Side, check: str) -> None:
    (first,) = kept(side, 1, 1)
    program = kept_with(side, 1, check)
    harmless = kept_with(side, 1, check, "none")
    found = side.json("POST", f"/v1/campaigns/{first}/release", "quarantine")
    assert (found["done"], found["held"]) == ([first, harmless], 1)
    assert [item["id"] for item in found["refused"]] == [program]
    assert "everything" in found["refused"][0]["problem"]
    found = side.json("POST", f"/v1/campaigns/{first}/release", "quarantine", json={"everything": True})
    assert (found["done"], found["held"]) == ([program], 0)


def test_what_upstream_refused_is_not_deleted_with_the_spam_that_copies_it(side: Side) -> None:
    """Its sender was told 250: only a person may end it."""
    record = message()

    async def finish() -> None:
        custody = SqlCustody(side.database)
        kept_copy = replace(held(record), reason=UPSTREAM_REFUSED)
        await custody.finish(record, outcomes(record, TerminalState.QUARANTINED), evidence(), kept_copy)
        custody.close()

    asyncio.run(finish())
    add(side, sighting(record.id, 1, at_ms=record.received_ms))
    spam = kept(side, 1, 2)
    found = side.json("POST", f"/v1/campaigns/{record.id}/delete", "quarantine")
    assert (found["done"], found["held"]) == (spam, 1)
    assert "taken" in found["refused"][0]["problem"]


def test_what_is_left_does_not_hide_the_others(side: Side) -> None:
    left = [kept_with(side, 1, "malware") for _ in range(3)]
    good = kept(side, 1, 2)
    found = side.json("POST", f"/v1/campaigns/{left[0]}/release", "quarantine", json={"limit": 1})
    assert found["done"] == good[:1]
    found = side.json("POST", f"/v1/campaigns/{left[0]}/release", "quarantine", json={"limit": 1})
    assert (found["done"], found["held"]) == (good[1:], 3)


@pytest.mark.parametrize("word", ["release", "delete"])
def test_the_scope_is_that_of_the_quarantine(side: Side, word: str) -> None:
    ids = kept(side, 1, 2)
    assert "quarantine" in side.json("POST", f"/v1/campaigns/{ids[0]}/{word}", "read", status=403)["error"]["problem"]
    side.json("GET", "/v1/campaigns", "report", status=403)
    side.json("POST", f"/v1/campaigns/{ids[0]}/{word}", "quarantine", status=422, json={"limit": 101})
    side.json("POST", f"/v1/campaigns/{ids[0]}/{word}", "quarantine", status=422, json={"other": 1})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/campaigns/NONE"),
        ("POST", "/v1/campaigns/NONE/release"),
        ("POST", "/v1/campaigns/NONE/delete"),
    ],
)
def test_an_unknown_id_is_named(side: Side, method: str, path: str) -> None:
    assert "'NONE'" in side.json(method, path, status=404)["error"]["problem"]


def test_a_bad_filter_is_named(side: Side) -> None:
    assert side.json("GET", "/v1/campaigns?cursor=x", "read", status=422)["error"]["field"] == "query.cursor"
    assert side.json("GET", "/v1/campaigns?held=x", "read", status=422)["error"]["field"] == "query.held"


def test_reports_on_one_campaign_are_one(side: Side) -> None:
    ids = kept(side, 1, 3)
    for id, reporter in zip(ids, ("anna", "bob", "anna"), strict=True):
        reports.add(side.database, id, "phish", reporter, "import")
    page = side.json("GET", "/v1/reports/campaigns", "read")
    (found,) = page["items"]
    assert (found["campaign"], found["label"], found["reports"], found["reporters"]) == (ids[0], "phish", 3, 2)
    assert page["next_before"] is None
    assert [item["campaign"] for item in side.json("GET", "/v1/reports", "read")["items"]] == [ids[0]] * 3
    assert side.json("GET", f"/v1/campaigns/{ids[0]}", "read")["reports"] == {"phish": 3}
    assert side.json("GET", "/v1/reports/campaigns?label=ham", "read")["items"] == []


def test_a_reported_message_that_never_came_through_us_finds_its_campaign(side: Side) -> None:
    octets = b"From: a@example.com\r\nSubject: parcel 17\r\n\r\n" + TEXT * 2 + b"\r\n"
    found = fingerprint(Message(octets))
    assert found is not None
    add(side, CampaignSighting("FIRST", 1, TerminalState.FORWARDED, found.keys, found.sketch))
    other = octets.replace(b"parcel 17", b"parcel 4711").replace(b"was not paid", b"is open")
    body = {"message": base64.b64encode(other).decode(), "label": "spam"}
    side.json("POST", "/v1/reports", "admin", 201, json=body)
    (report,) = side.json("GET", "/v1/reports", "read")["items"]
    assert (report["message_id"], report["campaign"]) == (None, "FIRST")


def test_a_campaign_that_was_held_wrongly_is_one_report_and_each_message_is_pinned(side: Side) -> None:
    ids = kept(side, 1, 3)
    body = {"false_positive": True}
    found = side.json("POST", f"/v1/campaigns/{ids[0]}/release", "quarantine", json=body)
    assert found["done"] == ids
    (report,) = side.json("GET", "/v1/reports", "read")["items"]
    assert (report["label"], report["trusted"], report["source"]) == ("ham", True, "quarantine")
    assert [pin.message_id for pin in pins.list_pins(side.database)] == ids


def test_a_campaign_that_is_spam_is_one_report(side: Side) -> None:
    ids = kept(side, 1, 3)
    side.json("POST", f"/v1/campaigns/{ids[0]}/delete", "quarantine", json={"spam": True})
    (report,) = side.json("GET", "/v1/reports", "read")["items"]
    assert (report["label"], report["trusted"], report["campaign"]) == ("spam", True, ids[0])
