"""Reports are recorded, linked to what we know, and can be withdrawn."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from filterd.classifier.features import features, to_octets
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.mail.message import Message
from filterd.storage import reports
from tests.support.sideservice import Side
from tests.support.storage import keep, message

MAIL = b"From: a@example.org\r\nSubject: win\r\nMessage-ID: <7@example.org>\r\n\r\nyou have won a prize\r\n"
OWN = to_octets(features(content_stream(Message(MAIL), ConnectionFacts())))


def learnt(side: Side) -> list[tuple[str | None, str, bytes]]:
    return [(item.message_id, item.label, item.features) for item in reports.labelled(side.database)]


def add(side: Side, body: Any, status: int = 201) -> Any:
    return side.json("POST", "/v1/reports", "report", status=status, json=body)


def add_raw(side: Side, query: str, content: bytes = MAIL, kind: str = "message/rfc822") -> Any:
    return side.ask("POST", f"/v1/reports?{query}", "report", content=content, headers={"Content-Type": kind})


def test_by_our_id_learns_what_the_verdict_was_made_from(side: Side) -> None:
    record = message()
    keep(side.database, record)
    found = add(side, {"message_id": record.id, "label": "ham", "reporter": "anna@example.net", "note": "my bank"})
    assert found["message_id"] == record.id
    assert learnt(side) == [(record.id, "ham", b"\x01\x00\x00\x00")]
    (row,) = side.json("GET", "/v1/reports", "read")["items"]
    assert (row["reporter"], row["note"], row["source"], row["has_features"]) == (
        "anna@example.net",
        "my bank",
        "api",
        True,
    )


def test_the_message_itself_in_base64_or_raw(side: Side) -> None:
    add(side, {"message": base64.b64encode(MAIL).decode(), "label": "spam"})
    assert add_raw(side, "label=phish&note=two").status_code == 201
    assert add_raw(side, "label=phish", MAIL.replace(b"\r\n", b"\n")).status_code == 201
    assert learnt(side) == [(None, "spam", OWN), (None, "phish", OWN), (None, "phish", OWN)]
    assert [row["reporter"] for row in side.json("GET", "/v1/reports")["items"]] == ["test-report"] * 3


def test_a_message_that_came_through_us_is_found_by_its_message_id(side: Side) -> None:
    record = message(message_id="<7@example.org>")
    keep(side.database, record)
    assert add_raw(side, "label=spam").json()["message_id"] == record.id
    assert learnt(side) == [(record.id, "spam", b"\x01\x00\x00\x00")]


def test_withdrawing_unlearns(side: Side) -> None:
    id = add_raw(side, "label=spam").json()["id"]
    assert side.json("DELETE", f"/v1/reports/{id}", "report")["done"] == "withdrawn"
    assert learnt(side) == []
    (row,) = side.json("GET", "/v1/reports", "read")["items"]
    assert row["withdrawn_ms"] is not None
    assert row["withdrawn_by"].startswith("test-report")
    side.json("DELETE", f"/v1/reports/{id}", "report", status=404)


def test_pages_and_filters(side: Side) -> None:
    ids = [add_raw(side, f"label={label}").json()["id"] for label in ("spam", "ham", "spam")]
    first = side.json("GET", "/v1/reports?limit=2", "read")
    rest = side.json("GET", f"/v1/reports?limit=2&before={first['next_before']}", "read")
    assert [row["id"] for row in first["items"] + rest["items"]] == ids[::-1]
    assert [row["id"] for row in side.json("GET", "/v1/reports?label=ham", "read")["items"]] == [ids[1]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"label": "spam"}, "body.message_id"),
        ({"label": "spam", "message_id": "A", "message": "eA=="}, "body.message_id"),
        ({"label": "bad", "message_id": "A"}, "body.label"),
        ({"message_id": "A"}, "body.label"),
        ({"label": "spam", "message": "not base64!"}, "body.message"),
        ({"label": "spam", "message": ""}, "body.message"),
        ({"label": "spam", "message_id": "a b"}, "body.message_id"),
        ({"label": "spam", "message_id": "A", "note": "x" * 2001}, "body.note"),
        ({"label": "spam", "message_id": "A", "x": 1}, "body.x"),
        ([], "body"),
    ],
)
def test_a_bad_report_is_named_and_not_kept(side: Side, body: Any, field: str) -> None:
    error = add(side, body, 422)["error"]
    assert error["field"] == field
    assert side.json("GET", "/v1/reports", "read")["items"] == []


def test_what_cannot_be_taken(side: Side) -> None:
    assert add(side, {"label": "spam", "message_id": "NONE"}, 404)["error"]["problem"].endswith("'NONE'")
    assert add_raw(side, "label=nothing").json()["error"]["field"] == "query.label"
    assert add_raw(side, "label=spam&message_id=A&x=1").status_code == 422
    assert add_raw(side, "label=spam", b"").json()["error"]["field"] == "body"
    assert add_raw(side, "label=spam", MAIL, "text/plain").status_code == 415
    assert add_raw(side, "label=spam", b"{", "application/json").status_code == 422
