"""Every refusal has one shape: what part, what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from api.views import refused
from filterd.errors import PermanentError, StorageError, StorageFullError
from tests.support.sideservice import Side


@pytest.mark.parametrize("error", [StorageError("database is locked", "busy"), StorageFullError("disk")])
def test_storage_failures_are_503_with_a_time(side: Side, monkeypatch: pytest.MonkeyPatch, error: StorageError) -> None:
    side.json("GET", "/v1/quarantine", "read")  # the token is known now

    @contextmanager
    def broken() -> Iterator[None]:
        raise error
        yield

    monkeypatch.setattr(side.database, "read", broken)
    response = side.ask("GET", "/v1/quarantine", "read")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert error.kind in response.json()["error"]["problem"]
    unknown = side.client.get("/v1/quarantine", headers={"Authorization": "Bearer fd_000000000000_" + "A" * 43})
    assert unknown.status_code == 503, "a token that cannot be verified is not wrong"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/v1/lists", 405)])
def test_wrong_paths_and_methods(side: Side, method: str, path: str, status: int) -> None:
    error = side.json(method, path, status=status)["error"]
    assert error["field"] is None
    assert error["remedy"].startswith("see /docs")


@pytest.mark.parametrize(
    ("text", "status", "field"),
    [
        ("state: Active, expected Ready or Retry", 409, None),
        ("id: X is deleted, expected held", 409, None),
        ("recipients: the copy of a is released, expected held", 409, None),
        ("recipients: a has no copy of X", 422, "body.recipients"),
        ("to: not a mailbox: 'x'", 422, "body.to"),
        ("no field here", 422, None),
    ],
)
def test_what_storage_refuses(text: str, status: int, field: str | None) -> None:
    error = refused(PermanentError(text))
    assert (error.status_code, error.body.error.field) == (status, field)
