"""Reports are recorded, linked to what we know, held for a review where that is needed, and can be withdrawn."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filterd.classifier.features import features, to_octets
from filterd.classifier.stream import ConnectionFacts, content_stream
from filterd.mail.message import Message
from filterd.ports import TerminalState
from filterd.storage import examples, pins, tokens
from tests.support.sideservice import Side, make_config, side_service
from tests.support.storage import keep, message

MAIL = b"From: a@example.org\r\nSubject: win\r\nMessage-ID: <7@example.org>\r\n\r\nyou have won a prize\r\n"
OWN = to_octets(features(content_stream(Message(MAIL), ConnectionFacts())))
ANNA, BOB = "anna@example.net", "bob@example.net"


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    """A side service of example.net."""
    config = make_config(tmp_path, recipients={"accepted_domains": ["example.net"]})
    with side_service(tmp_path, config) as running:
        yield running


def learnt(side: Side) -> list[tuple[str | None, str, bytes]]:
    return [(item.message_id, item.label, item.features) for item in examples.examples(side.database)]


def delivered(side: Side, *recipients: str) -> str:
    """Our id of a message that these people got."""
    record = message(*recipients)
    keep(side.database, record, state=TerminalState.FORWARDED)
    return record.id


def add(side: Side, body: Any, status: int = 201) -> Any:
    """For a person by a token that may only report; as an administrator without one."""
    scope = "report" if "reporter" in body else "admin"
    return side.json("POST", "/v1/reports", scope, status=status, json=body)


def add_raw(side: Side, query: str, content: bytes = MAIL, kind: str = "message/rfc822") -> Any:
    scope = "report" if "reporter=" in query else "admin"
    return side.ask("POST", f"/v1/reports?{query}", scope, content=content, headers={"Content-Type": kind})


def test_a_token_that_may_only_report_is_no_administrator(side: Side) -> None:
    id = delivered(side, ANNA)
    body = {"message_id": id, "label": "spam"}
    error = side.json("POST", "/v1/reports", "report", status=403, json=body)["error"]
    assert error["field"] == "reporter"
    assert "name who says so" in error["remedy"]
    assert side.json("GET", "/v1/reports", "read")["items"] == []
    both = tokens.create(side.database, "console", ["report", "learn"])
    response = side.client.post("/v1/reports", json=body, headers={"Authorization": f"Bearer {both}"})
    assert response.status_code == 201


def test_by_our_id_learns_what_the_verdict_was_made_from(side: Side) -> None:
    id = delivered(side, ANNA, BOB)
    found = add(side, {"message_id": id, "label": "ham", "reporter": ANNA, "note": "my bank"})
    assert (found["message_id"], found["state"], found["holds"], found["already"]) == (id, "counting", {}, False)
    assert learnt(side) == [], "one new person is not enough"
    add(side, {"message_id": id, "label": "ham", "reporter": "Bob@Example.net"})
    assert learnt(side) == [(id, "ham", b"\x01\x00\x00\x00")]
    _, row = side.json("GET", "/v1/reports", "read")["items"]
    assert (row["reporter"], row["note"], row["source"], row["has_features"]) == (
        "anna@example.net",
        "my bank",
        "api",
        True,
    )


def test_the_message_itself_in_base64_or_raw(side: Side) -> None:
    add(side, {"message": base64.b64encode(MAIL).decode(), "label": "spam"})
    assert add_raw(side, "label=phish&note=two").status_code == 201
    again = add_raw(side, "label=phish", MAIL.replace(b"\r\n", b"\n")).json()
    assert again["already"], "the same, with other line ends"
    assert learnt(side) == [(None, "phish", OWN)], "one message is learned once"
    rows = side.json("GET", "/v1/reports")["items"]
    assert [(row["reporter"], row["trusted"], row["name"]) for row in rows] == [
        ("test-admin", True, "<7@example.org>")
    ] * 2


def test_what_a_person_says_of_a_message_that_we_never_had_waits_for_a_review(side: Side) -> None:
    found = add_raw(side, f"label=spam&reporter={ANNA}").json()
    assert found["state"] == "held"
    assert list(found["holds"]) == ["unknown_message"]
    assert learnt(side) == []
    (row,) = side.json("GET", "/v1/reports?state=held", "read")["items"]
    assert (row["id"], row["holds"]) == (found["id"], ["unknown_message"])
    assert side.json("GET", "/v1/reports?hold=outsider", "read")["items"] == []
    accepted = side.json("POST", f"/v1/reports/{found['id']}/accept", "learn")
    assert (accepted["state"], accepted["trusted"]) == ("counting", True)
    assert accepted["decided_by"].startswith("test-learn")
    assert learnt(side) == [(None, "spam", OWN)]
    rejected = side.json("POST", f"/v1/reports/{found['id']}/reject", "learn")
    assert (rejected["state"], rejected["trusted"]) == ("overruled", False)
    assert learnt(side) == []


def test_the_review_is_for_those_who_may_change_what_is_learned(side: Side) -> None:
    id = add_raw(side, f"label=spam&reporter={ANNA}").json()["id"]
    side.json("POST", f"/v1/reports/{id}/accept", "report", status=403)
    side.json("POST", "/v1/reports/99/accept", "learn", status=404)
    side.json("DELETE", f"/v1/reports/{id}", "report")
    error = side.json("POST", f"/v1/reports/{id}/reject", "learn", status=409)["error"]
    assert "withdrawn" in error["problem"]


def test_by_the_message_id_as_outlook_gives_it(side: Side) -> None:
    id = delivered(side, ANNA)
    body = {"internet_message_id": "<1@example.org>", "label": "spam", "reporter": ANNA}
    found = add(side, body)
    assert (found["message_id"], found["state"]) == (id, "counting")
    assert add(side, body)["already"]
    unknown = add(side, {**body, "internet_message_id": "<2@example.org>"})
    assert (unknown["message_id"], list(unknown["holds"])) == (None, ["unknown_message"])


def test_who_reports_and_how_far_their_word_was_right(side: Side) -> None:
    id = delivered(side, ANNA, BOB)
    add(side, {"message_id": id, "label": "spam", "reporter": ANNA})
    contradicts = add(side, {"message_id": id, "label": "ham", "reporter": BOB})
    assert list(contradicts["holds"]) == ["contradiction"]
    add(side, {"message_id": id, "label": "spam"})
    found = {row["reporter"]: row for row in side.json("GET", "/v1/reporters", "read")["items"]}
    assert (found[ANNA]["agreed"], found[ANNA]["disagreed"], found[ANNA]["counting"]) == (1, 0, 1)
    assert (found[BOB]["agreed"], found[BOB]["disagreed"], found[BOB]["held"]) == (0, 1, 1)
    assert found[BOB]["trust"] < 0.3 < found[ANNA]["trust"]
    rows = side.json("GET", f"/v1/reports?reporter={BOB}", "read")["items"]
    assert [row["reporter"] for row in rows] == [BOB]


def test_a_pinned_message_is_no_longer_pinned_when_its_report_is_withdrawn(side: Side) -> None:
    record = message()
    keep(side.database, record)
    id = add(side, {"message_id": record.id, "label": "ham"})["id"]
    assert [pin.message_id for pin in pins.list_pins(side.database)] == [record.id]
    side.json("DELETE", f"/v1/reports/{id}")
    assert pins.list_pins(side.database) == ()


def test_a_message_that_came_through_us_is_found_by_its_message_id(side: Side) -> None:
    record = message(message_id="<7@example.org>")
    keep(side.database, record)
    assert add_raw(side, "label=spam").json()["message_id"] == record.id
    assert learnt(side) == [(record.id, "spam", b"\x01\x00\x00\x00")]


def test_withdrawing_unlearns(side: Side) -> None:
    id = add_raw(side, "label=spam").json()["id"]
    assert side.json("DELETE", f"/v1/reports/{id}")["done"] == "withdrawn"
    assert learnt(side) == []
    (row,) = side.json("GET", "/v1/reports", "read")["items"]
    assert row["withdrawn_ms"] is not None
    assert row["withdrawn_by"].startswith("test-admin")
    side.json("DELETE", f"/v1/reports/{id}", status=404)


def test_a_report_token_undoes_no_review_and_nobody_elses_trusted_word(side: Side) -> None:
    """Whoever may only report could else take away pins and lift what a review said of their reports."""
    record = message()
    keep(side.database, record)
    said = side.json("POST", "/v1/reports", "admin", status=201, json={"message_id": record.id, "label": "ham"})["id"]
    reviewed = add_raw(side, f"label=spam&reporter={ANNA}").json()["id"]
    side.json("POST", f"/v1/reports/{reviewed}/reject", "learn")
    for id in (said, reviewed):
        assert "'learn'" in side.json("DELETE", f"/v1/reports/{id}", "report", status=403)["error"]["problem"]
    assert [pin.message_id for pin in pins.list_pins(side.database)] == [record.id]
    both = tokens.create(side.database, "console", ["report", "learn"])
    for id in (said, reviewed):
        response = side.client.delete(f"/v1/reports/{id}", headers={"Authorization": f"Bearer {both}"})
        assert response.json()["done"] == "withdrawn"


def test_pages_and_filters(side: Side) -> None:
    mails = [MAIL.replace(b"<7", b"<%d" % number) for number in range(3)]
    labels = zip(("spam", "ham", "spam"), mails, strict=True)
    ids = [add_raw(side, f"label={label}", mail).json()["id"] for label, mail in labels]
    first = side.json("GET", "/v1/reports?limit=2", "read")
    rest = side.json("GET", f"/v1/reports?limit=2&before={first['next_before']}", "read")
    assert [row["id"] for row in first["items"] + rest["items"]] == ids[::-1]
    assert [row["id"] for row in side.json("GET", "/v1/reports?label=ham", "read")["items"]] == [ids[1]]


def test_what_we_do_not_have_cannot_be_reported(side: Side) -> None:
    assert add(side, {"label": "spam", "message_id": "NONE"}, 404)["error"]["problem"].endswith("'NONE'")


def test_what_one_person_says_alone_is_found(side: Side) -> None:
    id = delivered(side, ANNA, BOB)
    alone = add(side, {"message_id": id, "label": "spam", "reporter": ANNA})["id"]
    shown = side.json("GET", "/v1/reports?unlearned=true", "read")["items"]
    assert [row["id"] for row in shown] == [alone]
    add(side, {"message_id": id, "label": "spam", "reporter": BOB})
    assert side.json("GET", "/v1/reports?unlearned=true", "read")["items"] == []


@pytest.mark.parametrize("reporter", ["", "  "])
def test_a_person_without_a_name_is_no_administrator(side: Side, reporter: str) -> None:
    """A script that passes on what people say, and whose variable is empty."""
    id = delivered(side, ANNA)
    error = add(side, {"message_id": id, "label": "spam", "reporter": reporter}, status=422)["error"]
    assert error["field"] == "reporter"
    assert "leave it out" in error["remedy"]
    response = add_raw(side, f"label=spam&reporter={reporter}")
    assert response.status_code == 422
    assert side.json("GET", "/v1/reports", "read")["items"] == []
