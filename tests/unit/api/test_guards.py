"""Bodies are bounded in size and time; every answer forbids what a browser might do with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from api.app import all_routes
from api.guards import JSON_BYTES, BodyLimit
from api.problems import CatchAll
from tests.support.sideservice import Side


def test_an_announced_body_that_is_too_large_is_refused(side: Side) -> None:
    response = side.ask(
        "POST", "/v1/lists", content=b" " * (JSON_BYTES + 1), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413
    assert str(JSON_BYTES) in response.json()["error"]["problem"]


@pytest.mark.parametrize("path", ["/v1/lists", "/v1/quarantine/abc/release"])
def test_a_body_that_grows_too_large_is_refused(side: Side, path: str) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(JSON_BYTES // 1000 + 2):
            yield b" " * 1000

    response = side.ask("POST", path, content=blocks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_a_message_may_be_as_large_as_by_smtp(side: Side) -> None:
    size = side.config.limits.message_bytes
    path = "/v1/scan?client_ip=192.0.2.1&rcpt_to=a@example.org"
    headers = {"Content-Type": "message/rfc822"}
    assert side.ask("POST", path, content=b"x" * size, headers=headers).status_code == 200
    assert side.ask("POST", path, content=b"x" * (size + 1), headers=headers).status_code == 413
    assert [len(octets) for octets, _ in side.scanner.asked] == [size]


@pytest.mark.parametrize("value", ["-1", "x", "9" * 30])
def test_a_nonsense_length_is_refused(side: Side, value: str) -> None:
    response = side.ask("POST", "/v1/lists", headers={"Content-Length": value, "Content-Type": "application/json"})
    assert response.status_code == 413


@pytest.mark.parametrize("slow", [{"seconds": 0.01}, {"quick": {"/x": 0.01}}], ids=["any", "this path"])
def test_a_body_that_never_ends_is_given_up(slow: dict[str, Any]) -> None:
    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    async def never() -> Any:
        await asyncio.Event().wait()

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    guarded = BodyLimit(CatchAll(app), large={}, **slow)
    asyncio.run(guarded({"type": "http", "method": "POST", "path": "/x", "headers": []}, never, send))
    assert sent[0]["status"] == 408
    assert "error" in json.loads(sent[1]["body"])


def test_every_answer_has_the_security_fields(side: Side) -> None:
    paths = {route.path.replace("{id}", "1").replace("{name}", "docs.js") for route in all_routes()}
    for path in (*paths, "/nothing"):
        for scope in ("read", None):
            fields = side.ask("GET", path, scope).headers
            assert "default-src 'none'" in fields["content-security-policy"], path
            assert "frame-ancestors 'none'" in fields["content-security-policy"], path
            assert fields["x-content-type-options"] == "nosniff"
            assert fields["referrer-policy"] == "no-referrer"
            assert "no-store" in fields["cache-control"] or path.startswith("/docs/")


def test_a_crash_is_answered_without_a_word_about_it(side: Side) -> None:
    side.scanner.error = ValueError("secret detail")
    response = side.ask("POST", "/v1/scan?client_ip=192.0.2.1&rcpt_to=a@example.org", content=b"x")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["remedy"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_websockets_are_refused(side: Side) -> None:
    with pytest.raises(WebSocketDisconnect), side.client.websocket_connect("/v1/health"):
        pass


def test_no_answer_names_the_server(side: Side) -> None:
    assert "server" not in side.ask("GET", "/v1/health", None).headers
