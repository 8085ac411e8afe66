"""What cannot be a report is refused with the name of its field, and nothing is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sideservice import Side


def sent(side: Side, query: str, content: bytes = b"Subject: x\r\n\r\nx\r\n", kind: str = "message/rfc822") -> Any:
    return side.ask("POST", f"/v1/reports?{query}", content=content, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"label": "spam"}, "body.message_id"),
        ({"label": "spam", "message_id": "A", "message": "eA=="}, "body.message_id"),
        ({"label": "spam", "message_id": "A", "internet_message_id": "<1@a>"}, "body.message_id"),
        ({"label": "spam", "internet_message_id": ""}, "body.internet_message_id"),
        ({"label": "spam", "internet_message_id": " "}, "body.message_id"),
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
    error = side.json("POST", "/v1/reports", status=422, json=body)["error"]
    assert error["field"] == field
    assert side.json("GET", "/v1/reports", "read")["items"] == []


def test_what_is_no_report(side: Side) -> None:
    assert sent(side, "label=nothing").json()["error"]["field"] == "query.label"
    assert sent(side, "label=spam&message_id=A&x=1").status_code == 422
    assert sent(side, "label=spam", b"").json()["error"]["field"] == "body"
    assert sent(side, "label=spam", b"x", "text/plain").status_code == 415
    assert sent(side, "label=spam", b"{", "application/json").status_code == 422
