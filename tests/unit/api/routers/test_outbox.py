"""The queue of released copies over HTTP, in Exchange's words."""

from __future__ import annotations

import asyncio

import pytest

from filterd.mail.reply import Reply
from filterd.outbox import OutboxRunner
from filterd.storage import outbox, quarantine
from tests.support.sideservice import Side
from tests.support.storage import keep, message


def released(side: Side) -> int:
    """The outbox id of a released copy."""
    record = message()
    keep(side.database, record)
    return quarantine.release(side.database, record.id, None, "admin")[0]


def test_rows_page_by_page(side: Side) -> None:
    ids = [released(side) for _ in range(3)]
    first = side.json("GET", "/v1/outbox?limit=2", "read")
    rest = side.json("GET", f"/v1/outbox?limit=2&before={first['next_before']}", "read")
    assert [row["id"] for row in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_before"] is None
    assert side.json("GET", "/v1/outbox?state=Suspended")["items"] == []
    assert len(side.json("GET", f"/v1/outbox?message_id={first['items'][0]['message_id']}")["items"]) == 1


def test_suspend_resume_remove(side: Side) -> None:
    id = released(side)
    path = f"/v1/outbox/{id}"
    assert side.json("POST", f"{path}/suspend", "quarantine")["done"] == "suspended"
    assert side.json("GET", path)["state"] == "Suspended"
    assert not asyncio.run(OutboxRunner(side.database, side.upstream).run_once())
    side.json("POST", f"{path}/resume", "quarantine")
    assert side.json("GET", path)["state"] == "Ready"
    side.json("DELETE", path, "quarantine")
    row = side.json("GET", path)
    assert row["state"] == "Removed"
    assert side.json("GET", f"/v1/quarantine/{row['message_id']}")["state"] == "held"


def test_refused_for_good_is_suspended_until_resumed(side: Side) -> None:
    id = released(side)
    side.upstream.data = Reply(550, "5.7.1", "Refused")
    asyncio.run(OutboxRunner(side.database, side.upstream).run_once())
    row = side.json("GET", f"/v1/outbox/{id}")
    assert (row["state"], row["last_error"]) == ("Suspended", "upstream: 550 5.7.1 Refused")
    side.json("POST", f"/v1/outbox/{id}/retry", status=409)
    side.json("POST", f"/v1/outbox/{id}/resume")


@pytest.mark.parametrize(
    ("method", "rest"), [("POST", "/retry"), ("POST", "/suspend"), ("POST", "/resume"), ("DELETE", "")]
)
def test_what_its_state_does_not_allow(side: Side, method: str, rest: str) -> None:
    id = released(side)
    outbox.delivered(side.database, id, "250 ok")
    error = side.json(method, f"/v1/outbox/{id}{rest}", status=409)["error"]
    assert "Delivered" in error["problem"]
    assert "'77'" in side.json(method, f"/v1/outbox/77{rest}", status=404)["error"]["problem"]
