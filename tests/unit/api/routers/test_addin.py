"""The add-in over HTTP: open files, reports by Exchange's token alone, nothing at all when it is not set up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.addin.manifest import page_of
from api.auth import FAILURES
from api.guards import OPEN_SECONDS, BodyLimit
from api.routers.addin import FILES, OPEN
from api.services import ADDIN_REPORTS
from filterd.ports import TerminalState
from filterd.storage import reports
from tests.support.exchange_token import ANNA, BOB, exchange, stranger
from tests.support.sideservice import Side, make_config, side_service
from tests.support.storage import keep, message

SITE = "https://filter.example.org"
PAGE = page_of(SITE)
NAME = "<7@example.com>"


@pytest.fixture
def addin(tmp_path: Path) -> Iterator[Side]:
    """A side service with the add-in, and one message that Anna and Bob got."""
    given = {"public_url": SITE, "exchange_certificate": str(exchange().write(tmp_path))}
    config = make_config(tmp_path, reports=given, recipients={"accepted_domains": ["example.net"]})
    with side_service(tmp_path, config) as side:
        record = message("anna@example.net", "bob@example.net", message_id=NAME)
        keep(side.database, record, state=TerminalState.FORWARDED)
        yield side


def press(side: Side, label: str = "spam", token: str | None = None, **more: Any) -> Any:
    body = {
        "token": exchange().token(PAGE) if token is None else token,
        "internet_message_id": NAME,
        "address": "anna@example.net",
        "label": label,
        **more,
    }
    return side.client.post("/addin/reports", json=body)


def outcome(response: Any) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["outcome"])


def rows(side: Side) -> tuple[reports.Report, ...]:
    return reports.list_reports(side.database)


def test_a_report_counts(addin: Side) -> None:
    assert outcome(press(addin, "spam", address="Anna@Example.NET")) == "counted"
    (row,) = rows(addin)
    assert (row.label, row.reporter, row.source, row.state) == ("spam", "anna@example.net", "addin", "counting")
    assert row.message_id is not None
    assert row.has_features
    assert not row.trusted


def test_the_same_again_and_another_opinion(addin: Side) -> None:
    assert outcome(press(addin, "spam")) == "counted"
    assert outcome(press(addin, "spam")) == "already"
    assert outcome(press(addin, "ham")) == "counted"
    assert len(rows(addin)) == 2


def test_what_did_not_reach_the_reporter_waits(addin: Side) -> None:
    keep(addin.database, message("carol@example.net", message_id="<8@example.com>"), state=TerminalState.FORWARDED)
    assert outcome(press(addin, internet_message_id="<8@example.com>")) == "review"
    assert outcome(press(addin, internet_message_id="<made-up@example.com>")) == "unknown"
    assert {row.state for row in rows(addin)} == {"held"}


def test_the_answer_tells_no_reason(addin: Side) -> None:
    response = press(addin, address="anna@elsewhere.example")
    assert response.json() == {"outcome": "review"}


def test_an_address_that_two_mailboxes_name_counts_for_neither(addin: Side) -> None:
    assert outcome(press(addin, token=exchange().token(PAGE, BOB), label="ham")) == "counted", (
        "Bob says that he is Anna"
    )
    assert outcome(press(addin)) == "review"
    assert outcome(press(addin, "phish", token=exchange().token(PAGE, BOB))) == "review"
    newest, second, first = rows(addin)
    assert first.reporter == "anna@example.net"
    assert newest.reporter.endswith("@addin.invalid")
    assert second.reporter != newest.reporter
    assert "outsider" in second.holds
    assert "another mailbox names this address too: anna@example.net" in second.note
    assert ANNA in second.note, "an administrator finds the mailbox by it"

    users = addin.json("GET", "/v1/addin/users?contested=true", "read")["items"]
    assert [(user["address"], user["contested"]) for user in users] == [("anna@example.net", True)] * 2
    addin.json("DELETE", f"/v1/addin/users/{users[0]['user']}", "admin")
    assert addin.json("GET", "/v1/addin/users?contested=true", "read")["items"] == []
    addin.json("DELETE", f"/v1/addin/users/{users[0]['user']}", "admin", status=404)
    addin.json("DELETE", "/v1/addin/users/abc", "admin", status=422)
    assert outcome(press(addin, "phish")) == "counted"


@pytest.mark.parametrize("spelling", ["anna@example.net.", "ANNA@EXAMPLE.NET"])
def test_another_spelling_is_the_same_address(addin: Side, spelling: str) -> None:
    assert outcome(press(addin, "ham", token=exchange().token(PAGE, BOB), address=spelling)) == "counted"
    assert outcome(press(addin)) == "review", "Bob says that he is Anna, in another way"
    assert outcome(press(addin, "ham", token=exchange().token(PAGE, BOB), address=spelling)) == "review"


def test_a_mailbox_that_names_another_address_waits(addin: Side) -> None:
    assert outcome(press(addin)) == "counted"
    assert outcome(press(addin, address="bob@example.net")) == "review"
    assert "this mailbox named another address before: bob@example.net" in rows(addin)[0].note
    assert outcome(press(addin, token=exchange().token(PAGE, BOB), address="bob@example.net")) == "counted"
    (anna, bob) = addin.json("GET", "/v1/addin/users", "read")["items"]
    assert (anna["address"], bob["address"]) == ("anna@example.net", "bob@example.net")
    first = addin.json("GET", "/v1/addin/users?limit=1", "read")
    assert first["items"] == [anna]
    assert addin.json("GET", f"/v1/addin/users?cursor={first['next_cursor']}", "read")["items"] == [bob]
    error = addin.json("GET", f"/v1/addin/users?cursor={'0' * 64}", "read", status=422)["error"]
    assert error["field"] == "query.cursor"


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        stranger().token(PAGE),
        exchange().token("https://other.example.org/addin/report.html"),
        exchange().token(PAGE, now=time.time() - 100_000),
        exchange().token(PAGE, now=time.time() + 100_000),
    ],
    ids=["nonsense", "other certificate", "other page", "expired", "not yet"],
)
def test_a_wrong_token_reports_nothing(addin: Side, token: str) -> None:
    response = press(addin, token=token)
    assert response.status_code == 401
    assert response.json()["error"]["field"] == "body.token"
    assert token not in response.text
    assert rows(addin) == ()


def test_our_own_tokens_do_not_count_here(addin: Side) -> None:
    assert press(addin, token=addin.tokens["admin"]).status_code == 401


def test_wrong_tokens_are_slowed_down_and_right_ones_go_on(addin: Side) -> None:
    for _ in range(FAILURES):
        assert press(addin, token="wrong").status_code == 401
    response = press(addin, token="wrong")
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0
    assert outcome(press(addin)) == "counted", "behind a reverse proxy all users have one address"


def test_one_user_cannot_flood(addin: Side) -> None:
    for number in range(ADDIN_REPORTS):
        assert press(addin, internet_message_id=f"<{number}@example.com>").status_code == 200
    assert press(addin).status_code == 429
    other = press(addin, token=exchange().token(PAGE, BOB), address="bob@example.net")
    assert outcome(other) == "counted"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"token": ""}, "token"),
        ({"token": "x" * 8193}, "token"),
        ({"internet_message_id": ""}, "internet_message_id"),
        ({"internet_message_id": "<a\n@b>"}, "internet_message_id"),
        ({"internet_message_id": "x" * 999}, "internet_message_id"),
        ({"internet_message_id": " \u3000"}, "internet_message_id"),
        ({"address": "anna"}, "address"),
        ({"address": "\u3000anna@example.net"}, "address"),
        ({"address": "anna@example.net\xa0"}, "address"),
        ({"address": "an\u200bna@example.net"}, "address"),
        ({"address": "anna@example.net, bob@example.net"}, "address"),
        ({"address": "a@" + "x" * 320}, "address"),
        ({"label": "junk"}, "label"),
        ({"trusted": True}, "trusted"),
    ],
)
def test_fields_have_bounds(addin: Side, changes: dict[str, object], field: str) -> None:
    response = press(addin, **changes)
    assert response.status_code == 422
    assert response.json()["error"]["field"] == f"body.{field}"
    assert rows(addin) == ()


@pytest.mark.parametrize("field", ["token", "internet_message_id", "address", "label"])
@pytest.mark.parametrize(
    "value", [r'"a\ud800@example.net"', "null", "7", "[]", "{}", "NaN", "[" * 5000], ids=lambda value: value[:9]
)
def test_what_is_no_text_is_refused(addin: Side, field: str, value: str) -> None:
    others = {
        "token": exchange().token(PAGE),
        "internet_message_id": NAME,
        "address": "anna@example.net",
        "label": "ham",
    }
    parts = [f'"{name}": {value if name == field else json.dumps(text)}' for name, text in others.items()]
    headers = {"Content-Type": "application/json"}
    response = addin.client.post("/addin/reports", content="{" + ", ".join(parts) + "}", headers=headers)
    assert response.status_code in (400, 422)
    assert response.json()["error"]["remedy"]
    assert rows(addin) == ()


def test_a_certificate_file_that_is_gone_or_new_is_seen_at_once(addin: Side) -> None:
    path = addin.config.reports.exchange_certificate
    assert path is not None
    path.unlink()
    response = press(addin)
    assert response.status_code == 503
    assert "retry-after" in response.headers
    assert addin.client.get("/v1/health").status_code == 200
    path.write_bytes(stranger().pem + exchange().pem)
    assert outcome(press(addin)) == "counted"
    path.write_bytes(stranger().pem)
    assert press(addin).status_code == 401


def test_a_certificate_file_of_the_same_size_or_of_the_same_moment_is_a_new_one(addin: Side) -> None:
    path = addin.config.reports.exchange_certificate
    assert path is not None

    def put(content: bytes, size: int, at_ns: int) -> None:
        path.write_bytes(content.ljust(size, b"\n"))
        os.utime(path, ns=(at_ns, at_ns))

    put(exchange().pem, 3000, 10**18)
    assert outcome(press(addin)) == "counted"
    put(stranger().pem, 3000, 10**18 + 1)
    assert press(addin).status_code == 401
    put(exchange().pem, 3001, 10**18 + 1)
    assert outcome(press(addin)) == "already"


def test_every_file_is_open_and_nothing_else_below(addin: Side) -> None:
    for name in FILES:
        response = addin.client.get(f"/addin/{name}")
        assert response.status_code == 200, name
        assert response.headers["x-content-type-options"] == "nosniff"
    for path in (
        "/addin",
        "/addin/",
        "/addin/report.py",
        "/addin/app-16.png",
        "/addin/static/report.js",
        "/addin/reports",
    ):
        assert addin.client.get(path).status_code == 401, path
    assert {path for method, path in OPEN if method == "POST"} == {"/addin/reports"}


def test_the_page_may_be_framed_over_https_and_runs_only_our_script_and_offices(addin: Side) -> None:
    page = addin.client.get("/addin/report.html")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self' https://appsforoffice.microsoft.com;" in policy
    assert "default-src 'none'" in policy
    for part in ("connect-src 'self'", "base-uri 'none'", "form-action 'none'"):
        assert part in policy
    assert "frame-ancestors https:" in policy
    assert "unsafe" not in policy
    assert "x-frame-options" not in page.headers
    assert '<script src="https://appsforoffice.microsoft.com/lib/1/hosted/office.js"></script>' in page.text
    assert "<script>" not in page.text
    assert "style=" not in page.text
    assert " onclick" not in page.text


def test_other_answers_keep_their_guards(addin: Side) -> None:
    for response in (press(addin), addin.client.get("/v1/health"), addin.client.get("/addin/manifest.xml")):
        assert response.headers["x-frame-options"] == "DENY"
        assert "sandbox" in response.headers["content-security-policy"]


def test_icons_may_be_stored_and_shown_elsewhere(addin: Side) -> None:
    icon = addin.client.get("/addin/spam-16.png")
    assert icon.headers["content-type"] == "image/png"
    assert "no-store" not in icon.headers["cache-control"]
    assert icon.headers["cross-origin-resource-policy"] == "cross-origin"


def test_office_js_from_elsewhere(tmp_path: Path) -> None:
    given = {
        "public_url": SITE,
        "exchange_certificate": str(exchange().write(tmp_path)),
        "office_js": "https://filter.example.org:8443/office/office.js",
    }
    with side_service(tmp_path, make_config(tmp_path, reports=given)) as side:
        page = side.client.get("/addin/report.html")
        assert "script-src 'self' https://filter.example.org:8443;" in page.headers["content-security-policy"]
        assert '<script src="https://filter.example.org:8443/office/office.js">' in page.text


def test_a_slow_body_holds_no_place_for_minutes(addin: Side) -> None:
    """Without a token anybody could else hold all connections of the side service."""
    asgi = addin.app.middleware_stack
    while not isinstance(asgi, BodyLimit):
        asgi = asgi.app  # type: ignore[union-attr]
    assert asgi.quick == {"/addin/reports": OPEN_SECONDS}
    assert asgi.seconds > OPEN_SECONDS


def test_without_an_address_there_is_no_addin(side: Side) -> None:
    for name in FILES:
        response = side.client.get(f"/addin/{name}")
        assert response.status_code == 404
        assert response.headers["content-type"].startswith("text/plain")
        assert "public_url" in response.text
    assert press(side).status_code == 401, "nobody's body is read for nothing"
    body = {"token": "x", "internet_message_id": NAME, "address": "anna@example.net", "label": "spam"}
    assert "public_url" in side.json("POST", "/addin/reports", "read", status=404, json=body)["error"]["remedy"]
