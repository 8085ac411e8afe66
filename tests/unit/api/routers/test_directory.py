"""Pushed lists over HTTP: what is asked for, what is refused and how it is said, and that nothing readable is kept."""

from __future__ import annotations

import asyncio
import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.routers.directory import BEGIN_BYTES
from api.services import DirectoryCache
from filterd.directory.keys import address_key, key_name
from filterd.directory.snapshot import Snapshot
from filterd.pushing import PART_BYTES, PART_RECIPIENTS
from tests.support.sideservice import Side, make_config, side_service

JSON = {"Content-Type": "application/json"}
DIGEST = "0" * 64


@pytest.fixture
def pushed(tmp_path: Path) -> Iterator[Side]:
    """A side service that takes pushes."""
    with side_service(tmp_path, make_config(tmp_path, push={"enabled": True})) as running:
        yield running


def site_key(side: Side) -> bytes:
    return bytes.fromhex(side.json("GET", "/v1/directory/key", "directory")["key"])


def recipient(side: Side, *names: str, **more: Any) -> dict[str, Any]:
    key = site_key(side)
    keys = [address_key(key, f"{name}@example.org").hex() for name in names]
    return {"id": keys[0], "keys": keys, **more}


def begin(side: Side, count: int = 1, status: int = 201, **more: Any) -> Any:
    body = {
        "version": 1,
        "digest": DIGEST,
        "parts": 1,
        "recipients": count,
        "domains": [{"name": "example.org"}],
        **more,
    }
    return side.json("POST", "/v1/directory/pushes", "directory", status, json=body)


def push(side: Side, *recipients: dict[str, Any], status: int = 200, commit: Any = None, **more: Any) -> Any:
    identity = begin(side, len(recipients), **more)["id"]
    path = f"/v1/directory/pushes/{identity}"
    side.json("PUT", f"{path}/parts/1", "directory", json={"recipients": recipients})
    return side.json("POST", f"{path}/commit", "directory", status, json=commit)


def snapshot(side: Side) -> Snapshot:
    return Snapshot(side.config.state_dir / "directory" / "push.snapshot")


def test_a_push_from_the_key_to_the_commit(pushed: Side) -> None:
    told = pushed.json("GET", "/v1/directory/key", "directory")
    assert told["algorithm"] == "HMAC-SHA-256, first 16 octets, address in lower case"
    assert told["version"] == 1
    assert told["name"] == key_name(bytes.fromhex(told["key"]))
    anna = recipient(pushed, "anna", "a.example", internal_only=True, thresholds={"junk": 3, "delete": 9})
    assert push(pushed, anna, recipient(pushed, "bob")) == {"addresses": 3, "added": 3, "dropped": 0}
    found = snapshot(pushed).find(bytes.fromhex(anna["keys"][1]))
    assert found is not None
    assert (found.internal_only, found.thresholds.junk, found.thresholds.delete) == (True, 3, 9)
    assert begin(pushed, 2, status=200) == {"id": None, "unchanged": True}


def test_the_list_that_was_read_later_counts(pushed: Side) -> None:
    push(pushed, recipient(pushed, "anna"), recipient(pushed, "new"))
    identity = begin(pushed, digest="2" * 64, age_seconds=3600)["id"]
    path = f"/v1/directory/pushes/{identity}"
    pushed.json("PUT", f"{path}/parts/1", "directory", json={"recipients": [recipient(pushed, "anna")]})
    error = pushed.json("POST", f"{path}/commit", "directory", status=409)["error"]
    assert "a newer list was pushed meanwhile" in error["problem"]
    begin(pushed, digest="3" * 64, age_seconds=86_401, status=422)


def test_readable_senders_are_kept_and_logged_as_keys_only(pushed: Side, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    anna = recipient(pushed, "anna", safe=["friend@partner.example", "news.example"], blocked=["@Worse.example"])
    identity = begin(pushed)["id"]
    path = f"/v1/directory/pushes/{identity}"
    pushed.json("PUT", f"{path}/parts/1", "directory", json={"recipients": [anna]})
    # No hexadecimal words among them: keys and ids may hold those by chance.
    readable = [b"friend", b"partner", b"news", b"worse", b"Worse", b"anna"]

    def kept() -> bytes:
        folder = pushed.config.state_dir / "directory"
        return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())

    assert not [word for word in readable if word in kept()]
    pushed.json("POST", f"{path}/commit", "directory")
    assert not [word for word in readable if word in kept()]
    text = "".join(str(record.__dict__) for record in caplog.records if record.name.startswith(("api", "filterd")))
    assert not [word for word in readable if word.decode() in text]
    found = snapshot(pushed).find(bytes.fromhex(anna["keys"][0]))
    assert found is not None
    assert found.senders is not None
    key = site_key(pushed)
    assert {found.senders.safe[at : at + 16] for at in (0, 16)} == {
        address_key(key, "friend@partner.example"),
        address_key(key, "@news.example"),
    }
    assert found.senders.blocked == address_key(key, "@worse.example")


def test_a_drop_is_refused_with_numbers_and_remedy_until_it_is_meant(pushed: Side) -> None:
    many = [recipient(pushed, f"user{number}") for number in range(20)]
    push(pushed, *many, digest="1" * 64)
    error = push(pushed, *many[:10], status=409)["error"]
    assert "10 of 20 recipients would be dropped (50.0 %" in error["problem"]
    assert "accept_drop" in error["remedy"]
    assert len(snapshot(pushed)) == 20
    assert push(pushed, *many[:10], commit={"accept_drop": True})["dropped"] == 10
    empty = push(pushed, status=409, commit={"accept_drop": True}, digest="2" * 64)["error"]
    assert "empty" in empty["problem"]


def test_who_pushed_what_stands_in_the_log(pushed: Side, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    many = [recipient(pushed, f"user{number}") for number in range(20)]
    push(pushed, *many, digest="1" * 64)
    push(pushed, *many[:10], status=409)
    push(pushed, *many[:10], commit={"accept_drop": True})
    said = [r.__dict__ for r in caplog.records if r.name == "api.routers.directory"]
    assert all("token" in record["by"] for record in said)
    assert {record["message"] for record in said} >= {"site key given out", "push begun"}
    ends = [record for record in said if record["message"] in ("push committed", "push refused")]
    assert [record["message"] for record in ends] == ["push committed", "push refused", "push committed"]
    assert [ends[at]["accept_drop"] for at in (0, 2)] == [False, True]
    assert (ends[1]["levelname"], "10 of 20 recipients" in ends[1]["problem"]) == ("WARNING", True)
    assert (ends[2]["added"], ends[2]["dropped"]) == (0, 10)


def test_a_list_made_with_a_key_that_was_exchanged_is_refused(pushed: Side) -> None:
    name = pushed.json("GET", "/v1/directory/key", "directory")["name"]
    assert begin(pushed, key_name=name)["id"]
    error = begin(pushed, status=409, key_name="0" * 8)["error"]
    assert "the site key is not the one" in error["problem"]


def test_a_dropped_push_is_gone(pushed: Side) -> None:
    identity = begin(pushed)["id"]
    path = f"/v1/directory/pushes/{identity}"
    assert pushed.json("DELETE", path, "directory")["done"] == "dropped"
    gone = pushed.json("POST", f"{path}/commit", "directory", 404)["error"]
    assert gone["remedy"] == "begin a new push"
    pushed.json("DELETE", path, "directory", 404)
    body = {"recipients": [recipient(pushed, "anna")]}
    pushed.json("PUT", f"{path}/parts/1", "directory", 404, json=body)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": 2}, "body.version"),
        ({"version": 10**4000}, "body.version"),
        ({"key_name": "../x"}, "body.key_name"),
        ({"digest": "x"}, "body.digest"),
        ({"parts": 0}, "body.parts"),
        ({"recipients": -1}, "body.recipients"),
        ({"recipients": 3_000_000}, "body.recipients"),
        ({"domains": []}, "body.domains"),
        ({"domains": [{"name": "not a domain"}]}, "body.domains"),
        ({"domains": [{"name": "example.org", "type": "relay"}]}, "body.domains.0.type"),
        ({"people": [{"name": "Anna"}] * 1001}, "body.people"),
        ({"people": [{"name": "A" * 257}]}, "body.people.0.name"),
        ({"domains": [{"name": "example.org"}] * 5001}, "body.domains"),
        ({"people": [{"name": "Anna", "addresses": ["anna@example.org"]}]}, "body.people.0.addresses"),
    ],
)
def test_a_push_that_cannot_be_begun(pushed: Side, change: dict[str, Any], field: str) -> None:
    assert begin(pushed, status=422, **change)["error"]["field"] == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": "00"}, "body.recipients.0.id"),
        ({"keys": []}, "body.recipients.0.keys"),
        ({"keys": ["0" * 32] * 2001}, "body.recipients.0.keys"),
        ({"safe": ["0" * 32] * 10_001}, "body.recipients.0.safe"),
        ({"blocked": ["0" * 32] * 10_001}, "body.recipients.0.blocked"),
        ({"thresholds": {"reject": -1}}, "body.recipients.0.thresholds.reject"),
        ({"keys": ["anna@example.org"]}, "body.recipients.0.keys.0"),
        ({"thresholds": {"junk": 10}}, "body.recipients.0.thresholds.junk"),
        ({"safe": ["friend"]}, "body.recipients.0.safe"),
        ({"blocked": ["x" * 321]}, "body.recipients.0.blocked.0"),
        ({"name": "Anna"}, "body.recipients.0.name"),
    ],
)
def test_a_part_that_cannot_be_kept(pushed: Side, change: dict[str, Any], field: str) -> None:
    path = f"/v1/directory/pushes/{begin(pushed)['id']}/parts/1"
    body = {"recipients": [{**recipient(pushed, "anna"), **change}]}
    response = pushed.ask("PUT", path, "directory", json=body)
    assert response.status_code == 422
    assert response.json()["error"]["field"] == field
    assert "anna@example.org" not in response.text


def test_a_part_that_was_not_declared(pushed: Side) -> None:
    path = f"/v1/directory/pushes/{begin(pushed)['id']}/parts/2"
    body = {"recipients": [recipient(pushed, "anna")]}
    assert "declared 1 parts" in pushed.json("PUT", path, "directory", 422, json=body)["error"]["problem"]


def test_parts_are_bounded(pushed: Side) -> None:
    path = f"/v1/directory/pushes/{begin(pushed)['id']}"
    assert pushed.ask("PUT", f"{path}/parts/1", "directory", content=b" " * (PART_BYTES + 1)).status_code == 413
    assert pushed.ask("PUT", f"{path}/parts/1", "directory", content=b" " * PART_BYTES).status_code == 422
    assert pushed.ask("POST", f"{path}/commit", "directory", content=b" " * 70_000, headers=JSON).status_code == 413
    large = pushed.ask("POST", "/v1/directory/pushes", "directory", content=b" " * (BEGIN_BYTES + 1), headers=JSON)
    assert large.status_code == 413
    full = [{"id": f"{at:032x}", "keys": [f"{at:032x}"]} for at in range(PART_RECIPIENTS + 1)]
    assert pushed.ask("PUT", f"{path}/parts/1", "directory", json={"recipients": full}).status_code == 422
    assert pushed.ask("PUT", f"{path}/parts/1", "directory", json={"recipients": full[:-1]}).status_code == 200


def test_a_disk_that_takes_nothing_is_said_so(pushed: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = begin(pushed)["id"]

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("filterd.pushed_files.write_snapshot", full)
    body = {"recipients": [recipient(pushed, "anna")]}
    response = pushed.ask("PUT", f"/v1/directory/pushes/{identity}/parts/1", "directory", json=body)
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")


def test_a_part_waits_for_other_parts_and_for_nothing_else(pushed: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.services.PLACE_SECONDS", 0.01)
    path = f"/v1/directory/pushes/{begin(pushed)['id']}/parts/1"
    body = {"recipients": [recipient(pushed, "anna")]}
    services = pushed.app.state.services
    services.places = asyncio.Semaphore(0)  # somebody scans
    pushed.json("PUT", path, "directory", json=body)
    services.parts = asyncio.Semaphore(0)
    assert (
        pushed.json("PUT", path, "directory", 503, json=body)["error"]["problem"]
        == "too many parts of pushed lists at once"
    )


def test_another_list_that_is_being_put_in_place(pushed: Side) -> None:
    identity = begin(pushed)["id"]
    path = f"/v1/directory/pushes/{identity}"
    pushed.json("PUT", f"{path}/parts/1", "directory", json={"recipients": [recipient(pushed, "anna")]})
    with (pushed.config.state_dir / "directory" / "push.snapshot.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        response = pushed.ask("POST", f"{path}/commit", "directory")
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")
    assert pushed.json("POST", f"{path}/commit", "directory")["addresses"] == 1


def test_without_push_nothing_is_taken_and_no_key_is_made(side: Side) -> None:
    assert "push.enabled" in side.json("GET", "/v1/directory/key", "directory", 409)["error"]["problem"]
    assert "push.enabled" in begin(side, status=409)["error"]["problem"]
    assert not (side.config.state_dir / "directory").exists()


def test_who_pushes_may_do_nothing_else(pushed: Side) -> None:
    for method, path in (("GET", "/v1/quarantine"), ("GET", "/v1/lists"), ("POST", "/v1/models/rollback")):
        assert pushed.ask(method, path, "directory").status_code == 403


def test_the_description_has_no_reference_that_leads_nowhere(pushed: Side) -> None:
    text = str(pushed.app.openapi()["paths"]["/v1/directory/pushes/{id}/parts/{number}"])
    assert "internal_only" in text
    assert "#/$defs" not in text


def test_a_pushed_list_answers_and_is_told_of(pushed: Side) -> None:
    later = pushed.json("GET", "/v1/directory/test?address=anna@example.org", "read")
    assert (later["status"], later["known"], later["reply"][:9]) == ("unavailable", False, "451 4.4.3")
    before = pushed.json("GET", "/v1/directory/status", "read")
    assert [(source["name"], source["usable"]) for source in before["sources"]] == [("push", False)]
    anna = recipient(pushed, "anna", thresholds={"junk": 3}, safe=["friend@partner.example"])
    push(pushed, anna, recipient(pushed, "board", internal_only=True), people=[{"name": "Anna Example"}])
    pushed.app.state.services.directory = DirectoryCache(
        pushed.config
    )  # another process, which has not looked just now
    told = pushed.json("GET", "/v1/directory/status", "read")
    (source,) = told["sources"]
    assert (source["recipients"], source["problem"], source["busy"]) == (2, "", False)
    assert (told["domains"][0]["name"], told["people"]) == ("example.org", 1)
    query = "address=Anna@Example.ORG&sender=friend@partner.example"
    found = pushed.json("GET", f"/v1/directory/test?{query}", "read")
    assert (found["status"], found["backend"], found["reply"][:3]) == ("known", "push", "250")
    assert (found["thresholds"]["junk"], found["sender_word"], found["domain"]) == (3, "safe", "example.org")
    replies = {
        name: pushed.json("GET", f"/v1/directory/test?address={name}", "read")["reply"][:9]
        for name in ("nobody@example.org", "board@example.org", "anna@example.net")
    }
    assert replies["nobody@example.org"] == "550 5.1.1"
    assert replies["board@example.org"][:3] == "550"
    assert replies["anna@example.net"] == "550 5.7.1"


@pytest.mark.parametrize(
    ("query", "field"), [("address=anna", "address"), ("address=anna@example.org&sender=nobody", "sender")]
)
def test_what_is_no_address_is_said_so(side: Side, query: str, field: str) -> None:
    error = side.json("GET", f"/v1/directory/test?{query}", "read", 422)["error"]
    assert error["field"] == f"query.{field}"
