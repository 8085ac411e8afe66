"""Own address lists over HTTP."""

from __future__ import annotations

import pytest

from filterd.storage import lists
from tests.support.sideservice import Side


def test_add_replace_list_remove(side: Side) -> None:
    before = lists.version(side.database)
    entry = side.json("POST", "/v1/lists", "lists", status=201, json={"network": "192.0.2.9/24", "kind": "block"})
    assert (entry["network"], entry["kind"], entry["expires_ms"]) == ("192.0.2.0/24", "block", None)
    assert entry["created_by"].startswith("test-lists")
    assert lists.version(side.database) != before, "workers must see the change"
    body = {"network": "192.0.2.0/24", "kind": "block", "comment": "again", "expires_ms": 9_000_000_000_000}
    assert side.json("POST", "/v1/lists", "lists", status=201, json=body)["id"] == entry["id"]
    side.json("POST", "/v1/lists", "lists", status=201, json={"network": "2001:db8::1", "kind": "allow"})
    entry_range = {"network": "2001:db8::10-2001:db8::20", "kind": "allow"}
    added = side.json("POST", "/v1/lists", "lists", status=201, json=entry_range)
    assert added["network"] == "2001:db8::10-2001:db8::20"
    side.json("DELETE", f"/v1/lists/{added['id']}", "lists")
    assert [item["comment"] for item in side.json("GET", "/v1/lists?kind=block", "read")["items"]] == ["again"]
    side.json("DELETE", f"/v1/lists/{entry['id']}", "lists")
    assert len(side.json("GET", "/v1/lists", "read")["items"]) == 1
    assert "'77'" in side.json("DELETE", "/v1/lists/77", "lists", status=404)["error"]["problem"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"network": "nonsense", "kind": "block"}, "body.network"),
        ({"network": "192.0.2.9-192.0.2.1", "kind": "block"}, "body.network"),
        ({"network": "192.0.2.1", "kind": "grey"}, "body.kind"),
        ({"network": "192.0.2.1"}, "body.kind"),
        ({"network": "192.0.2.1", "kind": "block", "comment": "x" * 501}, "body.comment"),
        ({"network": "192.0.2.1", "kind": "block", "expires_ms": -1}, "body.expires_ms"),
        ({"network": "192.0.2.1", "kind": "block", "expire": 1}, "body.expire"),
    ],
)
def test_a_bad_entry_is_named(side: Side, body: object, field: str) -> None:
    assert side.json("POST", "/v1/lists", "lists", status=422, json=body)["error"]["field"] == field
