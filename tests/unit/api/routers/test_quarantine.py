"""Search, look, release, delete over HTTP, on a real database."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from api.routers import quarantine as router
from filterd.errors import StorageError, TemporaryError
from filterd.outbox import OutboxRunner
from filterd.ports import Delivery, TerminalState
from filterd.storage import pins, quarantine
from filterd.storage.custody import SqlCustody
from tests.support.doubles import ScriptedUpstream
from tests.support.sideservice import Side, side_service
from tests.support.storage import BODY, PREPENDED, evidence, held, keep, message, outcomes
from tests.unit.api.test_preview import HOSTILE, LIVE


def keep_body(side: Side, body: bytes) -> str:
    """The id of a held message with these octets."""
    record = message()
    custody = SqlCustody(side.database)
    ends = outcomes(record, TerminalState.QUARANTINED)
    asyncio.run(custody.finish(record, ends, evidence(), held(record, body)))
    custody.close()
    return record.id


def deliver(side: Side) -> None:
    while asyncio.run(OutboxRunner(side.database, side.upstream).run_once()):
        pass


def test_search_goes_through_all_pages(side: Side) -> None:
    records = [message() for _ in range(5)]
    ids = [record.id for record in records]
    keep(side.database, *records)
    seen, cursor = [], ""
    while True:
        page = side.json("GET", f"/v1/quarantine?limit=2{cursor}", "read")
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=held", 2),
        ("state=released", 0),
        ("recipient=ANNA@example.net", 1),
        ("sender=author", 2),
        ("subject=Lott", 1),
        ("text=lottery", 1),
        ("text=%25", 0),
        ("since_ms=9000000000000", 0),
        ("until_ms=1", 0),
    ],
)
def test_filters(side: Side, query: str, found: int) -> None:
    keep(side.database, message(subject="Lottery"), message("berta@example.net"))
    assert len(side.json("GET", f"/v1/quarantine?{query}", "read")["items"]) == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=nonsense", "query.state"),
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("cursor=nonsense", "query.cursor"),
        ("since_ms=-1", "query.since_ms"),
        ("recipient=", "query.recipient"),
        ("subject=%00", "query.subject"),
        ("text=" + "x" * 400, "query.text"),
    ],
)
def test_a_bad_filter_is_named(side: Side, query: str, field: str) -> None:
    error = side.json("GET", f"/v1/quarantine?{query}", "read", status=422)["error"]
    assert error["field"] == field
    assert error["problem"]
    assert error["remedy"]


def test_one_item_shows_its_copies(side: Side) -> None:
    record = message("anna@example.net", "berta@example.net")
    keep(side.database, record)
    item = side.json("GET", f"/v1/quarantine/{record.id}", "read")
    assert (item["state"], item["mail_from"], item["size"]) == ("held", "sender@example.org", len(BODY))
    assert [copy["recipient"] for copy in item["copies"]] == ["anna@example.net", "berta@example.net"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/quarantine/NONE"),
        ("GET", "/v1/quarantine/NONE/preview"),
        ("GET", "/v1/quarantine/NONE/message"),
        ("POST", "/v1/quarantine/NONE/release"),
        ("DELETE", "/v1/quarantine/NONE"),
    ],
)
def test_an_unknown_id_is_named(side: Side, method: str, path: str) -> None:
    assert "'NONE'" in side.json(method, path, status=404)["error"]["problem"]


def test_the_preview_of_a_hostile_message_is_harmless(side: Side) -> None:
    id = keep_body(side, HOSTILE)
    response = side.ask("GET", f"/v1/quarantine/{id}/preview", "read")
    assert response.headers["content-type"] == "application/json"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert not LIVE.search(response.text)
    assert "<" not in response.text
    assert ">" not in response.text
    assert "hxxps[:]//evil[.]example/plain" in response.json()["text"]
    assert [part["name"] for part in response.json()["attachments"]] == ["invoicefdp.exe", "mäil.html"]


def test_the_message_is_a_file_with_our_fields(side: Side) -> None:
    id = keep_body(side, HOSTILE)
    response = side.ask("GET", f"/v1/quarantine/{id}/message", "read")
    assert response.content == PREPENDED + HOSTILE
    assert response.headers["content-type"] == "message/rfc822"
    assert response.headers["content-disposition"] == f'attachment; filename="{id}.eml"'
    assert response.headers["content-security-policy"].endswith("sandbox")


def test_release_then_delivery_then_released(side: Side) -> None:
    record = message("anna@example.net", "berta@example.net")
    keep(side.database, record)
    answer = side.json("POST", f"/v1/quarantine/{record.id}/release", "quarantine", status=202)
    assert len(answer["outbox_ids"]) == 2
    assert side.json("GET", f"/v1/quarantine/{record.id}")["state"] == "release requested"
    deliver(side)
    assert {names[0] for names, octets in side.upstream.taken if octets == PREPENDED + BODY} == {
        "anna@example.net",
        "berta@example.net",
    }
    item = side.json("GET", f"/v1/quarantine/{record.id}")
    assert item["state"] == "released"
    assert item["copies"][0]["changed_by"].startswith("test-quarantine (token ")


def test_release_to_some_and_to_others(side: Side) -> None:
    record = message("anna@example.net", "berta@example.net")
    keep(side.database, record)
    body = {"recipients": ["Berta@example.net"], "to": ["security@example.net"]}
    side.json("POST", f"/v1/quarantine/{record.id}/release", status=202, json=body)
    deliver(side)
    assert {names[0] for names, _ in side.upstream.taken} == {"berta@example.net", "security@example.net"}
    states = {copy["recipient"]: copy["state"] for copy in side.json("GET", f"/v1/quarantine/{record.id}")["copies"]}
    assert states == {"anna@example.net": "held", "berta@example.net": "released"}


def test_upstream_down_means_retry_with_a_next_time(side: Side) -> None:
    record = message()
    keep(side.database, record)
    (id,) = side.json("POST", f"/v1/quarantine/{record.id}/release", status=202)["outbox_ids"]
    side.upstream.error = TemporaryError("connection refused", "unreachable")
    deliver(side)
    row = side.json("GET", f"/v1/outbox/{id}", "read")
    assert (row["state"], row["last_error"], row["attempts"]) == ("Retry", "connection refused", 1)
    assert row["next_ms"] >= row["changed_ms"] + 60_000
    side.upstream.error = None
    side.json("POST", f"/v1/outbox/{id}/retry", "quarantine")
    deliver(side)
    assert side.json("GET", f"/v1/quarantine/{record.id}")["state"] == "released"


def test_a_copy_is_released_once(side: Side) -> None:
    record = message()
    keep(side.database, record)
    path = f"/v1/quarantine/{record.id}/release"
    side.json("POST", path, status=202)
    assert "no copy is held" in side.json("POST", path, status=409)["error"]["problem"]
    body = {"recipients": ["anna@example.net"]}
    assert "release requested" in side.json("POST", path, status=409, json=body)["error"]["problem"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"recipients": ["nobody@example.net"]}, "body.recipients"),
        ({"recipients": []}, "body.recipients"),
        ({"to": ["not an address"]}, "body.to"),
        ({"to": ["anna@example.net"]}, "body.to"),
        ({"to": "anna@example.net"}, "body.to"),
        ({"to": ["a@example.net"] * 101}, "body.to"),
        ({"whom": []}, "body.whom"),
        ({"to": ["x" * 400]}, "body.to.0"),
    ],
)
def test_a_bad_release_is_named_and_changes_nothing(side: Side, body: object, field: str) -> None:
    record = message()
    keep(side.database, record)
    error = side.json("POST", f"/v1/quarantine/{record.id}/release", status=422, json=body)["error"]
    assert error["field"] == field
    assert side.json("GET", f"/v1/quarantine/{record.id}")["state"] == "held"


def test_broken_json_is_named(side: Side) -> None:
    headers = {"Content-Type": "application/json"}
    assert side.ask("POST", "/v1/quarantine/X/release", content=b"{", headers=headers).status_code == 422
    assert side.ask("POST", "/v1/quarantine/X/release", content=b"\xff", headers=headers).status_code in (400, 422)
    deep = json.dumps({"to": ["x"]}).replace('"x"', "[" * 20_000 + "]" * 20_000).encode()
    assert side.ask("POST", "/v1/quarantine/X/release", content=deep, headers=headers).status_code in (400, 422)


def test_delete_removes_octets_and_keeps_the_record(side: Side) -> None:
    record = message()
    keep(side.database, record)
    path = f"/v1/quarantine/{record.id}"
    assert side.json("DELETE", path, "quarantine")["done"] == "deleted"
    assert side.json("GET", path)["state"] == "deleted"
    assert side.json("GET", path)["has_body"] is False
    for rest in ("/preview", "/message"):
        assert "no longer kept" in side.json("GET", path + rest, status=410)["error"]["problem"]
    side.json("DELETE", path, status=409)
    side.json("POST", f"{path}/release", status=409)


def test_what_is_being_released_cannot_be_deleted(side: Side) -> None:
    record = message()
    keep(side.database, record)
    side.json("POST", f"/v1/quarantine/{record.id}/release", status=202)
    assert "outbox" in side.json("DELETE", f"/v1/quarantine/{record.id}", status=409)["error"]["problem"]


def test_a_running_service_delivers_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = threading.Event()
    real = ScriptedUpstream.deliver

    async def noted(self: ScriptedUpstream, *args: Any) -> Delivery:
        taken.set()
        return await real(self, *args)

    monkeypatch.setattr(ScriptedUpstream, "deliver", noted)
    with side_service(tmp_path, deliver=True) as side:
        record = message()
        keep(side.database, record)
        side.json("POST", f"/v1/quarantine/{record.id}/release", status=202)
        assert taken.wait(30)
    item = quarantine.get(side.database, record.id)
    assert item is not None
    assert item.state == "released", "the end of the service waits for a hand-over under way"


def test_a_release_as_false_positive_is_a_trusted_report_and_a_pin(side: Side) -> None:
    record = message()
    keep(side.database, record)
    body = {"false_positive": True}
    answer = side.json("POST", f"/v1/quarantine/{record.id}/release", "quarantine", status=202, json=body)
    (report,) = side.json("GET", "/v1/reports", "read")["items"]
    assert answer["report"] == report["id"]
    assert (report["message_id"], report["label"], report["source"]) == (record.id, "ham", "quarantine")
    assert (report["trusted"], report["state"], report["reporter"]) == (True, "counting", "test-quarantine")
    assert [pin.message_id for pin in pins.list_pins(side.database)] == [record.id]


def test_a_deletion_as_spam_is_a_trusted_report(side: Side) -> None:
    record = message()
    keep(side.database, record)
    answer = side.json("DELETE", f"/v1/quarantine/{record.id}?spam=true", "quarantine")
    (report,) = side.json("GET", "/v1/reports", "read")["items"]
    assert answer["report"] == report["id"]
    assert (report["label"], report["trusted"], report["has_features"]) == ("spam", True, True)


def test_without_saying_so_nothing_is_reported(side: Side) -> None:
    one, other = message(), message()
    keep(side.database, one, other)
    assert side.json("POST", f"/v1/quarantine/{one.id}/release", status=202)["report"] is None
    assert side.json("DELETE", f"/v1/quarantine/{other.id}")["report"] is None
    assert side.json("GET", "/v1/reports", "read")["items"] == []


def test_an_action_that_was_refused_reports_nothing(side: Side) -> None:
    record = message()
    keep(side.database, record)
    side.json("DELETE", f"/v1/quarantine/{record.id}")
    body = {"false_positive": True}
    side.json("POST", f"/v1/quarantine/{record.id}/release", status=409, json=body)
    assert side.json("GET", "/v1/reports", "read")["items"] == []


def test_a_release_is_done_though_its_report_cannot_be_written(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise StorageError("disk full", "full")

    monkeypatch.setattr(router, "submit", broken)
    record = message()
    keep(side.database, record)
    body = {"false_positive": True}
    answer = side.json("POST", f"/v1/quarantine/{record.id}/release", status=202, json=body)
    assert answer["report"] is None
    assert answer["outbox_ids"]
