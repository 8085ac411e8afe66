"""Whatever is sent to whichever operation: an answer that the description tells of, an error of the one shape, never a fault."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest

from api.app import all_routes
from tests.support.sideservice import Side

OPERATIONS = sorted(
    (method, route.path) for route in all_routes() if route.include_in_schema for method in route.methods or ()
)
ODD = ["1", "-1", "9" * 30, "seed", "..", "%2e%2e%2f", "a\0", "é", "%ff", "a" * 5000]
BODIES: list[dict[str, Any]] = [
    {"json": {}},
    {"json": []},
    {"json": {"force": True, "reason": "\0"}},
    {"json": {"label": "ham", "internet_message_id": "\0", "reporter": "\0a@b", "note": "\0"}},
    {"json": {"recipients": [], "limit": 10**20}},
    {"content": b'{"label": "spam", "reason": "\\ud800", "internet_message_id": "\\ud800"}'},
    {"content": b"\xff\xfe"},
    {"content": b"[" * 60_000},
    {"content": b"x" * 70_000},
    {"content": b"\0" * 100, "headers": {"Content-Type": "message/rfc822"}},
    {"content": b"\0" * 100, "headers": {"Content-Type": "application/x-tar"}},
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_any_request_gets_an_answer_that_is_described(side: Side, operation: tuple[str, str]) -> None:
    method, template = operation
    told = side.app.openapi()["paths"][template][method.lower()]
    queries = [part["name"] for part in told.get("parameters", []) if part["in"] == "query"]
    paths = [re.sub(r"\{\w+\}", quote(value, safe="%"), template) for value in ODD] if "{" in template else [template]
    asked: list[tuple[str, dict[str, Any]]] = [(path, {}) for path in paths]
    asked += [(f"{paths[0]}?{name}={quote(value, safe='%')}", {}) for name in queries for value in ODD]
    if "requestBody" in told:
        asked += [(paths[0], {"headers": {"Content-Type": "application/json"}, **body}) for body in BODIES]
    for path, body in asked:
        response = side.ask(method, path, **body)
        what = (path[:100], str(body)[:100], response.text[:300])
        assert response.status_code < 500 or response.status_code == 503, what
        assert str(response.status_code) in told["responses"], (response.status_code, what)
        if response.status_code >= 400:
            error = response.json()["error"]
            assert error["problem"], what
            assert error["remedy"], what
            assert response.status_code != 422 or error["field"], what
