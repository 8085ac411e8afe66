"""The main job and its second half, through the real doors: spam is held, a person looks, releases, reports, retrains, switches."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.exchange import StandInExchange
from tests.support.daemon import Daemon, wait_until
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver

TEXT = b"From: a@example.com\r\nTo: bob@example.org\r\nSubject: plans\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nThursday then.\r\n"
# every mail of this test is held: the thresholds are below anything
HOLD_ALL = "[policy]\ntag_score = -29.0\nquarantine_score = -28.0\n[lists]\nrefresh_seconds = 0.2\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, StandInExchange, httpx.Client]]:
    folder = tmp_path_factory.mktemp("house")
    with running_exchange(folder / "maildir") as exchange, running_nameserver() as dns_port:
        daemon = Daemon(folder / "f", exchange.port, dns_port, workers=2, extra=HOLD_ALL, api=True).start()
        try:
            made = daemon.command("token", "create", "--name", "test", "--scope", "admin", "--json")
            token = json.loads(made.stdout)["token"]
            base = f"http://127.0.0.1:{daemon.api_port}"
            with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
                wait_until(lambda: _answers(client), 30, "the API to answer")
                yield daemon, exchange, client
        finally:
            daemon.stop()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health").status_code == 200
    except httpx.TransportError:
        return False


def hold(daemon: Daemon, octets: bytes = TEXT) -> str:
    """Send a mail that is held; its id."""
    mail = Mail("a@example.com", "bob@example.org", octets)
    asyncio.run(send_all(daemon.smtp_port, [mail], 1))
    reference = re.search(r"^250 .*\[(\w{16})\]$", mail.answer)
    assert reference is not None, mail.answer
    return reference[1]


def test_nothing_but_health_answers_without_a_token(house: tuple[Daemon, StandInExchange, httpx.Client]) -> None:
    daemon, _, _ = house
    with httpx.Client(base_url=f"http://127.0.0.1:{daemon.api_port}") as stranger:
        assert stranger.get("/v1/health").status_code == 200
        for path in ("/v1/quarantine", "/v1/trace/x", "/metrics", "/docs", "/openapi.json", "/", "/v1/models"):
            assert stranger.get(path).status_code == 401, path


def test_a_held_mail_is_found_previewed_released_and_arrives_unchanged(
    house: tuple[Daemon, StandInExchange, httpx.Client],
) -> None:
    daemon, exchange, client = house
    reference = hold(daemon)
    found = client.get("/v1/quarantine", params={"recipient": "bob@example.org"}).json()
    assert reference in json.dumps(found)
    assert "Thursday then." in client.get(f"/v1/quarantine/{reference}/preview").text
    assert client.post(f"/v1/quarantine/{reference}/release").status_code == 202
    wait_until(lambda: any(reference.encode() in m.octets for m in exchange.received), 30, "the released copy")
    (copy,) = [m for m in exchange.received if reference.encode() in m.octets]
    assert copy.octets.endswith(TEXT)
    assert copy.recipients[0][0] == "bob@example.org"
    assert b"SFV:SKQ" in copy.octets
    wait_until(lambda: '"released"' in client.get(f"/v1/quarantine/{reference}").text, 30, "the state to be released")
    again = client.post(f"/v1/quarantine/{reference}/release")
    assert again.status_code == 409, again.text
    assert daemon.audit()["clean"]


def test_a_release_waits_for_an_upstream_that_is_down(house: tuple[Daemon, StandInExchange, httpx.Client]) -> None:
    daemon, exchange, client = house
    reference = hold(daemon)
    exchange.answers["end-of-data"] = "451 4.7.0 Temporary server error. Please try again later. PRX4"
    try:
        (row,) = client.post(f"/v1/quarantine/{reference}/release").json()["outbox_ids"]
        wait_until(lambda: client.get("/v1/outbox").text.find('"Retry"') > 0, 30, "the delivery to be in Retry")
    finally:
        exchange.answers.clear()
    assert client.post(f"/v1/outbox/{row}/retry").status_code in (200, 202)
    wait_until(lambda: any(reference.encode() in m.octets for m in exchange.received), 30, "the released copy")


def test_a_report_becomes_a_candidate_and_an_administrator_puts_it_to_use(
    house: tuple[Daemon, StandInExchange, httpx.Client],
) -> None:
    daemon, _, client = house
    reference = hold(daemon)
    body = {"message_id": reference, "label": "ham"}  # no reporter: the token's own word, which is an administrator's
    assert client.post("/v1/reports", json=body).status_code in (200, 201)
    started = client.post("/v1/models/retrain")
    assert started.status_code == 202, started.text
    job = started.json()["id"]
    wait_until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] != "running", 120, "the training")
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "done", client.get(f"/v1/jobs/{job}").text
    name = f"candidate-{job}"
    before = client.get(f"/v1/trace/{reference}").json()["evidence"]["model"]
    assert client.post(f"/v1/models/{name}/promote").status_code == 409, "one report is not enough evidence"
    forced = {"force": True, "reason": "a test"}
    assert client.post(f"/v1/models/{name}/promote", json=forced).status_code == 200
    wait_until(
        lambda: client.get(f"/v1/trace/{hold(daemon)}").json()["evidence"]["model"] not in ("", before),
        30,
        "the workers to use the candidate",
    )
    assert client.post("/v1/models/rollback").json()["name"] == "seed"


def test_metrics_count_what_all_workers_did(house: tuple[Daemon, StandInExchange, httpx.Client]) -> None:
    daemon, _, client = house
    hold(daemon)
    text = client.get("/metrics").text
    held = re.search(r'^filterd_messages_total\{state="quarantined"\} (\d+)', text, re.MULTILINE)
    assert held is not None, text[:2000]
    assert float(held[1]) >= 1


def test_scan_answers_as_the_command_line_does(
    house: tuple[Daemon, StandInExchange, httpx.Client], tmp_path: Path
) -> None:
    daemon, _, client = house
    (tmp_path / "m.eml").write_bytes(TEXT)
    given = {
        "client_ip": "192.0.2.1",
        "helo": "mail.example.com",
        "mail_from": "a@example.com",
        "rcpt_to": "bob@example.org",
    }
    over_http = client.post("/v1/scan", params=given, content=TEXT, headers={"Content-Type": "message/rfc822"}).json()
    options = [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
    by_hand = json.loads(daemon.command("scan", str(tmp_path / "m.eml"), *options, "--json").stdout)
    for key in ("action", "scl", "score", "contributions"):
        assert over_http[key] == by_hand[key]
