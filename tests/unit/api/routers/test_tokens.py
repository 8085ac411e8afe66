"""Tokens can be looked at and revoked, never made or read, over HTTP."""

from __future__ import annotations

from filterd.storage import tokens
from tests.support.sideservice import Side


def test_looking_and_revoking(side: Side) -> None:
    plain = tokens.create(side.database, "digest", ["read"])
    id = plain.split("_")[1]
    response = side.ask("GET", "/v1/tokens")
    assert plain not in response.text
    assert {"id": id, "name": "digest", "scopes": ["read"]}.items() <= response.json()["items"][-1].items()
    assert side.json("DELETE", f"/v1/tokens/{id}")["done"] == "revoked"
    side.json("DELETE", f"/v1/tokens/{id}", status=404)
    assert tokens.verify(side.database, plain) is None
    assert side.ask("POST", "/v1/tokens").status_code == 405
