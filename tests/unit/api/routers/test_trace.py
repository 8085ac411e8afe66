"""What happened to a message, over HTTP."""

from __future__ import annotations

import pytest

from filterd.ports import TerminalState
from filterd.storage import quarantine
from tests.support.sideservice import Side
from tests.support.storage import keep, message


def test_everything_about_one_message(side: Side) -> None:
    record = message()
    keep(side.database, record)
    quarantine.release(side.database, record.id, None, "admin")
    found = side.json("GET", f"/v1/trace/{record.id}", "read")
    assert found["message"]["subject"] == "offer"
    assert [(end["recipient"], end["state"]) for end in found["message"]["outcomes"]] == [
        ("anna@example.net", "quarantined")
    ]
    assert found["evidence"]["evidence"] == [{"check": "content", "reason": "looks_like_spam"}]
    assert "features" not in found["evidence"]
    assert found["quarantine"]["state"] == "release requested"
    assert found["outbox"][0]["state"] == "Ready"


def test_a_forwarded_message_has_no_quarantine(side: Side) -> None:
    record = message()
    keep(side.database, record, state=TerminalState.FORWARDED)
    found = side.json("GET", f"/v1/trace/{record.id}", "read")
    assert (found["quarantine"], found["outbox"]) == (None, [])


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 2),
        ("message_id=<2@example.org>", 1),
        ("sender=Sender@example.org", 2),
        ("recipient=berta@example.net", 1),
        ("client_ip=192.0.2.1", 2),
        ("client_ip=192.0.2.9", 0),
        ("state=forwarded", 1),
        ("since_ms=9000000000000", 0),
        ("limit=1", 1),
    ],
)
def test_search(side: Side, query: str, count: int) -> None:
    keep(side.database, message())
    keep(side.database, message("berta@example.net", message_id="<2@example.org>"), state=TerminalState.FORWARDED)
    assert len(side.json("GET", f"/v1/trace?{query}", "read")["items"]) == count


def test_unknown_and_unusable_ids(side: Side) -> None:
    assert "'NONE'" in side.json("GET", "/v1/trace/NONE", "read", status=404)["error"]["problem"]
    assert side.json("GET", "/v1/trace/a%20b", "read", status=422)["error"]["field"] == "path.id"
    assert side.json("GET", "/v1/trace?cursor=x", "read", status=422)["error"]["field"] == "query.cursor"
    assert side.json("GET", "/v1/trace?state=lost", "read", status=422)["error"]["field"] == "query.state"
