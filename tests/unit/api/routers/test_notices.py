"""Mail of our own over HTTP, in Exchange's words."""

from __future__ import annotations

import asyncio

import pytest

from filterd.mail.reply import Reply
from filterd.notices import NoticeRunner
from filterd.storage import notices
from tests.support.sideservice import Side
from tests.support.storage import wall_ms


def queued(side: Side, recipient: str = "anna@example.org") -> int:
    return notices.add(side.database, "report", recipient, b"Subject: Your report\r\n\r\n", wall_ms())


def test_rows_page_by_page_and_by_recipient(side: Side) -> None:
    ids = [queued(side, name) for name in ("anna@example.org", "bob@example.org", "Anna@example.org")]
    first = side.json("GET", "/v1/notices?limit=2", "read")
    rest = side.json("GET", f"/v1/notices?limit=2&before={first['next_before']}", "read")
    assert [row["id"] for row in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_before"] is None
    assert [row["id"] for row in side.json("GET", "/v1/notices?recipient=anna@example.org")["items"]] == [
        ids[2],
        ids[0],
    ]
    assert side.json("GET", "/v1/notices?state=Suspended")["items"] == []


def test_suspend_resume_remove(side: Side) -> None:
    path = f"/v1/notices/{queued(side)}"
    assert side.json("POST", f"{path}/suspend", "quarantine")["done"] == "suspended"
    assert not asyncio.run(NoticeRunner(side.database, side.upstream).run_once())
    side.json("POST", f"{path}/resume", "quarantine")
    assert side.json("GET", path)["state"] == "Ready"
    side.json("DELETE", path, "quarantine")
    assert side.json("GET", path)["state"] == "Removed"


def test_refused_for_good_is_suspended_until_resumed(side: Side) -> None:
    id = queued(side)
    side.upstream.data = Reply(550, "5.7.1", "Refused")
    asyncio.run(NoticeRunner(side.database, side.upstream).run_once())
    row = side.json("GET", f"/v1/notices/{id}")
    assert (row["state"], row["last_error"]) == ("Suspended", "upstream: 550 5.7.1 Refused")
    side.json("POST", f"/v1/notices/{id}/retry", status=409)
    side.json("POST", f"/v1/notices/{id}/resume")


@pytest.mark.parametrize(
    ("method", "rest"), [("GET", ""), ("POST", "/retry"), ("POST", "/suspend"), ("POST", "/resume"), ("DELETE", "")]
)
def test_an_unknown_one(side: Side, method: str, rest: str) -> None:
    assert side.ask(method, f"/v1/notices/77{rest}").status_code == 404
