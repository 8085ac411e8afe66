"""Nothing but health is open, each operation wants its one scope, and guessing is slow."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from api.app import all_routes
from api.auth import FAILURES, SCOPES, WINDOW_SECONDS, FailureLimiter, Verifier
from api.describe import scopes_of
from api.routers import addin
from filterd.storage import tokens
from filterd.storage.database import Database
from tests.support.sideservice import Side
from tests.support.storage import make_database

OPERATIONS = sorted((method, route.path) for route in all_routes() for method in route.methods or ())
OPEN = {("GET", "/v1/health")}
ADDIN = addin.OPEN  # not set up here: the files say so, see routers/test_addin.py
ANY_TOKEN = {("GET", "/docs"), ("GET", "/docs/{name}"), ("GET", "/openapi.json")}
SCOPE = {
    ("GET", "/metrics"): "read",
    ("GET", "/v1/addin/users"): "read",
    ("DELETE", "/v1/addin/users/{user}"): "admin",
    ("GET", "/v1/campaigns"): "read",
    ("GET", "/v1/campaigns/{id}"): "read",
    ("GET", "/v1/jobs"): "read",
    ("GET", "/v1/jobs/{id}"): "read",
    ("GET", "/v1/lists"): "read",
    ("GET", "/v1/models"): "read",
    ("GET", "/v1/notices"): "read",
    ("GET", "/v1/notices/{id}"): "read",
    ("DELETE", "/v1/notices/{id}"): "quarantine",
    ("POST", "/v1/notices/{id}/resume"): "quarantine",
    ("POST", "/v1/notices/{id}/retry"): "quarantine",
    ("POST", "/v1/notices/{id}/suspend"): "quarantine",
    ("GET", "/v1/outbox"): "read",
    ("GET", "/v1/outbox/{id}"): "read",
    ("GET", "/v1/quarantine"): "read",
    ("GET", "/v1/quarantine/{id}"): "read",
    ("GET", "/v1/quarantine/{id}/message"): "read",
    ("GET", "/v1/quarantine/{id}/preview"): "read",
    ("GET", "/v1/reports"): "read",
    ("GET", "/v1/reports/campaigns"): "read",
    ("GET", "/v1/reporters"): "read",
    ("POST", "/v1/reports/{id}/accept"): "learn",
    ("POST", "/v1/reports/{id}/reject"): "learn",
    ("GET", "/v1/tokens"): "admin",
    ("GET", "/v1/trace"): "read",
    ("GET", "/v1/trace/{id}"): "read",
    ("POST", "/v1/scan"): "read",
    ("DELETE", "/v1/lists/{id}"): "lists",
    ("DELETE", "/v1/outbox/{id}"): "quarantine",
    ("DELETE", "/v1/quarantine/{id}"): "quarantine",
    ("DELETE", "/v1/reports/{id}"): "report",
    ("DELETE", "/v1/tokens/{id}"): "admin",
    ("POST", "/v1/campaigns/{id}/delete"): "quarantine",
    ("POST", "/v1/campaigns/{id}/release"): "quarantine",
    ("POST", "/v1/lists"): "lists",
    ("POST", "/v1/models/retrain"): "learn",
    ("GET", "/v1/drift"): "read",
    ("GET", "/v1/models/{name}/shadow"): "read",
    ("GET", "/v1/models/events"): "read",
    ("GET", "/v1/models/key"): "read",
    ("GET", "/v1/models/{a}/diff/{b}"): "read",
    ("GET", "/v1/models/{name}"): "read",
    ("GET", "/v1/models/{name}/export"): "learn",
    ("DELETE", "/v1/models/{name}/shadow"): "learn",
    ("POST", "/v1/models/import"): "admin",
    ("POST", "/v1/models/rollback"): "learn",
    ("POST", "/v1/models/{name}/promote"): "learn",
    ("POST", "/v1/models/{name}/shadow"): "learn",
    ("POST", "/v1/outbox/{id}/resume"): "quarantine",
    ("POST", "/v1/outbox/{id}/retry"): "quarantine",
    ("POST", "/v1/outbox/{id}/suspend"): "quarantine",
    ("POST", "/v1/quarantine/{id}/release"): "quarantine",
    ("POST", "/v1/reports"): "report",
    ("GET", "/v1/directory/key"): "directory",
    ("GET", "/v1/directory/status"): "read",
    ("GET", "/v1/directory/test"): "read",
    ("POST", "/v1/directory/pushes"): "directory",
    ("PUT", "/v1/directory/pushes/{id}/parts/{number}"): "directory",
    ("POST", "/v1/directory/pushes/{id}/commit"): "directory",
    ("DELETE", "/v1/directory/pushes/{id}"): "directory",
}


def _path(template: str) -> str:
    number = template.startswith(("/v1/campaigns", "/v1/lists", "/v1/notices", "/v1/outbox", "/v1/reports"))
    return (
        template.replace("{id}", "1" if number else "abc")
        .replace("{name}", "docs.js")
        .replace("{user}", "0" * 64)
        .replace("{number}", "1")
    )


def _ask(side: Side, operation: tuple[str, str], scope: str | None) -> object:
    method, template = operation
    query = "?client_ip=192.0.2.1&rcpt_to=a@example.org" if template == "/v1/scan" else ""
    return side.ask(method, _path(template) + query, scope)


def test_every_operation_stands_in_the_table() -> None:
    assert set(OPERATIONS) == OPEN | ADDIN | ANY_TOKEN | set(SCOPE)


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_nothing_but_health_answers_without_a_token(side: Side, operation: tuple[str, str]) -> None:
    response = _ask(side, operation, None)
    if operation in OPEN:
        assert response.status_code == 200
        return
    if operation in ADDIN and operation[0] == "GET":
        assert response.status_code == 404
        return
    assert response.status_code == 401
    assert "filterd" in response.headers["www-authenticate"]
    assert "token" in response.json()["error"]["remedy"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/nothing"),
        ("POST", "/v1/health"),
        ("GET", "/v1/health/"),
        ("GET", "//v1/health"),
        ("OPTIONS", "/v1/quarantine"),
        ("HEAD", "/v1/quarantine"),
        ("GET", "/redoc"),
        ("GET", "/docs/oauth2-redirect"),
    ],
)
def test_paths_that_do_not_exist_want_a_token_too(side: Side, method: str, path: str) -> None:
    assert side.ask(method, path, None).status_code == 401
    assert side.ask(method, path).status_code in (404, 405)


@pytest.mark.parametrize("operation", sorted(SCOPE), ids=" ".join)
def test_each_operation_wants_its_scope(side: Side, operation: tuple[str, str]) -> None:
    wanted = SCOPE[operation]
    for scope in SCOPES:
        response = _ask(side, operation, scope)
        if scope in (wanted, "admin"):
            assert response.status_code not in (401, 403, 500), (scope, response.text)
        else:
            assert response.status_code == 403, scope
            assert repr(wanted) in response.json()["error"]["problem"]


def test_the_description_tells_the_same_scopes() -> None:
    told = {(method, route.path): scopes_of(route) for route in all_routes() for method in route.methods or ()}
    assert {operation: {scope} for operation, scope in SCOPE.items()} == {
        operation: scopes for operation, scopes in told.items() if scopes
    }


@pytest.mark.parametrize("operation", sorted(ANY_TOKEN), ids=" ".join)
def test_the_page_takes_any_token_also_by_basic(side: Side, operation: tuple[str, str]) -> None:
    path = _path(operation[1])
    assert side.client.get(path).headers["www-authenticate"].startswith("Basic ")
    assert side.client.get(path, auth=("anybody", side.tokens["report"])).status_code == 200
    assert side.client.get(path, auth=("anybody", "fd_wrong")).status_code == 401
    assert side.ask("GET", path, "report").status_code == 200


def test_basic_is_for_the_page_alone(side: Side) -> None:
    # A browser sends Basic by itself, also when another site asks it to: no operation may take it.
    for method, path in (("GET", "/v1/quarantine"), ("POST", "/docs"), ("DELETE", "/v1/quarantine/abc")):
        assert side.client.request(method, path, auth=("x", side.tokens["admin"])).status_code == 401


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer fd_000000000000_" + "A" * 43,
        "Token abc",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Bearer " + "x" * 5000,
    ],
)
def test_anything_else_is_no_token(side: Side, value: str) -> None:
    for path in ("/v1/quarantine", "/docs"):
        assert side.client.get(path, headers={"Authorization": value}).status_code == 401


def test_two_authorization_fields_are_refused(side: Side) -> None:
    twice = [("Authorization", f"Bearer {side.tokens['admin']}")] * 2
    assert side.client.get("/v1/quarantine", headers=twice).status_code == 401


def test_a_revoked_or_expired_token_is_refused(side: Side) -> None:
    expired = tokens.create(side.database, "old", ["read"], expires_ms=1)
    revoked = tokens.create(side.database, "gone", ["read"])
    assert tokens.revoke(side.database, revoked.split("_")[1])
    for token in (expired, revoked):
        response = side.client.get("/v1/quarantine", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 401
        assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_a_revoked_token_is_remembered_five_seconds_at_most(tmp_path: Path) -> None:
    now = [100.0]
    database: Database = make_database(tmp_path)
    plain = tokens.create(database, "mine", ["read"])
    verifier = Verifier(database, clock=lambda: now[0])

    async def story() -> None:
        assert await verifier.verify(plain) is not None
        tokens.revoke(database, plain.split("_")[1])
        now[0] += 4.9
        assert await verifier.verify(plain) is not None
        now[0] += 0.2
        assert await verifier.verify(plain) is None
        assert not verifier.was_good(plain)

    asyncio.run(story())
    database.close()


def test_guessing_is_slowed_down_and_good_tokens_go_on(side: Side) -> None:
    side.json("GET", "/v1/quarantine", "read")
    wrong = {"Authorization": "Bearer fd_000000000000_" + "A" * 43}
    for _ in range(FAILURES):
        assert side.client.get("/v1/quarantine", headers=wrong).status_code == 401
    response = side.client.get("/v1/quarantine", headers=wrong)
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= WINDOW_SECONDS
    side.json("GET", "/v1/quarantine", "read")
    assert side.ask("GET", "/v1/health", None).status_code == 200


def test_the_limiter_forgets_after_its_window_and_has_a_bound() -> None:
    now = [0.0]
    limiter = FailureLimiter(clock=lambda: now[0])
    for _ in range(FAILURES):
        assert limiter.wait("192.0.2.1") == 0
        limiter.failed("192.0.2.1")
    assert limiter.wait("192.0.2.1") == WINDOW_SECONDS
    assert limiter.wait("192.0.2.2") == 0
    now[0] += WINDOW_SECONDS
    assert limiter.wait("192.0.2.1") == 0
    for number in range(10_000):
        limiter.failed(f"10.0.{number >> 8}.{number & 255}")
    assert len(limiter._windows) <= 4096
