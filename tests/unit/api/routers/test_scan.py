"""The verdict on a message in the body; what cannot be used is named."""

from __future__ import annotations

from typing import Any

import pytest

from filterd.engine.scan import ScanInputError
from tests.support.sideservice import Side

MAIL = b"Subject: x\r\n\r\ntext\r\n"
QUERY = "client_ip=192.0.2.1&helo=h.example&mail_from=a@example.org&rcpt_to=b@example.net&rcpt_to=c@example.net"


def scan(side: Side, query: str = QUERY, content: bytes = MAIL, kind: str = "message/rfc822") -> Any:
    return side.ask("POST", f"/v1/scan?{query}", "read", content=content, headers={"Content-Type": kind})


def test_the_verdict_of_the_engine(side: Side) -> None:
    verdict = scan(side).json()
    assert verdict["action"] == "tag"
    assert sum(item["log_odds"] for item in verdict["contributions"]) == verdict["score"]
    assert [item["recipient"] for item in verdict["recipients"]] == ["b@example.net", "c@example.net"]
    assert verdict["unavailable"] == ["clamd"], "the same JSON as filterd scan --json, nothing left out"
    ((octets, asked),) = side.scanner.asked
    assert octets == MAIL
    assert asked == {
        "client_ip": "192.0.2.1",
        "helo": "h.example",
        "mail_from": "a@example.org",
        "rcpt_to": ["b@example.net", "c@example.net"],
    }


def test_the_explanation_comes_with_it_and_is_described(side: Side) -> None:
    verdict = scan(side).json()
    assert verdict["decided_by"] == "the score reaches tag_score (2)"
    assert verdict["contributions"][0]["clues"] == [{"text": "text: free", "log_odds": 2.5}]
    assert verdict["nearest_change"]["text"] == "with a DKIM pass of example.org: accept"
    schemas = side.ask("GET", "/openapi.json").json()["components"]["schemas"]
    assert {"decided_by", "contributions", "missing", "nearest_change"} <= set(schemas["ScanAnswer"]["properties"])
    for name in ("RecipientVerdict", "Contribution", "NearestChange"):
        described = schemas[name]["properties"]
        assert all("description" in about for field, about in described.items() if field in ("text", "score", "row"))


@pytest.mark.parametrize(
    ("query", "content", "kind", "status", "field"),
    [
        ("rcpt_to=b@example.net", MAIL, "message/rfc822", 422, "query.client_ip"),
        ("client_ip=192.0.2.1", MAIL, "message/rfc822", 422, "query.rcpt_to"),
        (QUERY, b"", "message/rfc822", 422, "body"),
        (QUERY, MAIL, "text/html", 415, "body"),
        (QUERY + "&rcpt_to=x@example.net" * 200, MAIL, "message/rfc822", 422, "query.rcpt_to"),
        (QUERY + "&helo=" + "x" * 300, MAIL, "message/rfc822", 422, "query.helo"),
    ],
)
def test_what_cannot_be_used(side: Side, query: str, content: bytes, kind: str, status: int, field: str) -> None:
    response = scan(side, query, content, kind)
    assert response.status_code == status
    assert response.json()["error"]["field"] == field
    assert side.scanner.asked == []


def test_what_the_engine_cannot_use(side: Side) -> None:
    side.scanner.error = ScanInputError("client_ip", "'x' is no IP address", "give one such as 192.0.2.1")
    response = scan(side)
    assert response.status_code == 422
    assert response.json()["error"] == {
        "field": "query.client_ip",
        "problem": "'x' is no IP address",
        "remedy": "give one such as 192.0.2.1",
    }
