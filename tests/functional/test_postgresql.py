"""filterd on a real PostgreSQL: the whole story of a message, two nodes on one database, a server that goes and comes back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx
import pytest

from sandbox.exchange import StandInExchange
from tests.support.daemon import Daemon, wait_until
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver
from tests.support.postgres import PASSWORD, Postgres

pytestmark = [pytest.mark.server("postgres"), pytest.mark.slow]

LISTED = "127.0.0.2"  # on the DNS list of the test: its mail is held
RECIPIENT = "bob@example.org"
EXTRA = """
[policy]
reject_score = 29
observe_checks = ["content", "mime", "structure", "rdns", "helo", "impersonation"]
[storage]
url = "{url}"
[greylist]
enabled = false
[clients]
greet_seconds = 0
messages_per_minute = 0
sender_messages_per_minute = 0
[lists]
refresh_seconds = 0.2
[[dnsbl]]
zone = "bl.example"
weight = 5.0
"""
MANY = 120  # messages, half of them held
CRASHES = 3
ZONES = {"bl.example": "2.0.0.127 IN A 127.0.0.2"}

Start = Callable[[str], Daemon]


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[StandInExchange]:
    with running_exchange(tmp_path / "maildir") as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, exchange: StandInExchange, postgres: Postgres) -> Iterator[Start]:
    """A node with that name; all of a test have one database, and the first makes its tables."""
    with postgres.database() as name, running_nameserver(ZONES) as dns_port, ExitStack() as stack:
        # As the page says it: over TCP, with a password, and without the name of a driver.
        url = postgres.url(name, tcp=True).replace("postgresql+psycopg:", "postgresql:")

        def starter(node: str) -> Daemon:
            extra = EXTRA.format(url=url)
            daemon = Daemon(tmp_path / node, exchange.port, dns_port, workers=1, extra=extra, api=True)
            stack.callback(daemon.stop)
            return daemon.start()

        yield starter


class Gate(asyncio.Event):
    """Whoever waits here tells so, and goes on when another thread says so."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.opened = threading.Event(), threading.Event()

    async def wait(self) -> Literal[True]:
        """See asyncio.Event."""
        self.reached.set()
        await asyncio.to_thread(self.opened.wait, 60)
        return True


class Api:
    """The administrator's way to a node."""

    def __init__(self, daemon: Daemon, token: str = "") -> None:
        if not token:
            made = daemon.command("token", "create", "--name", "test", "--scope", "admin", "--json")
            assert made.returncode == 0, made.stderr
            token = json.loads(made.stdout)["token"]
        self.token = token
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{daemon.api_port}", headers=headers, timeout=30)
        wait_until(self._answers, 60, "the API to answer")

    def _answers(self) -> bool:
        try:
            return self.client.get("/v1/health").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **query: str) -> Any:
        """JSON of a page."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: object) -> Any:
        """JSON of what was done."""
        answer = self.client.post(path, json=body) if body else self.client.post(path)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()


def send(
    daemon: Daemon, subject: str, held: bool = False, head: bytes = b"", body: bytes = b"Thursday then.\r\n"
) -> Mail:
    """Send one message, once."""
    octets = b"From: a@example.com\r\nTo: bob@example.org\r\nSubject: %s\r\n%s\r\n%s" % (subject.encode(), head, body)
    mail = Mail("a@example.com", RECIPIENT, octets, LISTED if held else "127.0.0.1")
    asyncio.run(send_all(daemon.smtp_port, [mail], 1))
    return mail


def taken(mail: Mail) -> str:
    """Our id of a message that was taken."""
    found = re.search(r"^250 .*\[(\w{16})\]$", mail.answer)
    assert found is not None, mail.answer
    return found[1]


def arrived(exchange: StandInExchange, mail: Mail) -> int:
    """How often upstream has it, unaltered."""
    return sum(received.octets.endswith(mail.octets) for received in exchange.received)


def test_a_message_is_taken_held_released_traced_and_reported(start: Start, exchange: StandInExchange) -> None:
    daemon = start("one")
    api = Api(daemon)
    passed, held = send(daemon, "plans"), send(daemon, "offer", held=True)
    assert arrived(exchange, passed) == 1
    assert arrived(exchange, held) == 0
    reference = taken(held)
    assert [item["id"] for item in api.get("/v1/quarantine", subject="OFF")["items"]] == [reference]
    assert "Thursday then." in api.client.get(f"/v1/quarantine/{reference}/preview").text
    api.post(f"/v1/quarantine/{reference}/release")
    wait_until(lambda: arrived(exchange, held) == 1, 30, "the released copy")
    wait_until(lambda: '"released"' in api.client.get(f"/v1/quarantine/{reference}").text, 30, "its state")
    assert daemon.trace(taken(passed))["message"]["outcomes"][0]["state"] == "forwarded"
    api.post("/v1/reports", message_id=reference, label="ham")
    assert [report["message_id"] for report in api.get("/v1/reports")["items"]] == [reference]
    found = daemon.command("doctor")
    assert re.search(r"(?m)^ok +database: postgresql.*schema", found.stdout), found.stdout + found.stderr
    seen = found.stdout + found.stderr + daemon.log_text()
    assert PASSWORD not in seen and quote(PASSWORD) not in seen, "the password is nobody's to read"  # noqa: PT018 - one secret, in two spellings
    assert daemon.audit()["clean"]


def test_no_text_of_a_sender_keeps_a_message_out(start: Start, exchange: StandInExchange) -> None:
    daemon = start("one")
    api = Api(daemon)

    def encoded(octets: bytes) -> bytes:
        return b"=?utf-8?B?" + base64.b64encode(octets) + b"?="

    hostile = [
        b"Message-ID: <" + "\U0001f600".encode() * 490 + b"@x>\r\n",
        b"Message-ID: <\xff\xfe\x80@x>\r\nX: \xed\xa0\x80\r\n",
        b"Message-ID: " + encoded(b"<a\0b@x>") + b"\r\nReply-To: " + encoded(b"a\0b") + b" <a@x.example>\r\n",
        b"Content-Type: text/plain; charset=utf-16le; name*=utf-8''%00%ED%A0%80\r\n",
    ]
    subjects = [
        "=?utf-8?B?AGEA?= nul",
        "=?utf-7?Q?+2AA-?= =?utf-8?Q?=ED=A0=80?= half",
        "=?utf-16?B?ANg=?= x",
        "long " * 150,
    ]
    for held in (False, True):
        for number, head in enumerate(hostile):
            mail = send(daemon, f"{held} {subjects[number]}", held, head)
            reference = taken(mail)
            (outcome,) = api.get(f"/v1/trace/{reference}")["message"]["outcomes"]
            assert outcome["state"] == ("forwarded" if arrived(exchange, mail) else "quarantined")
            assert outcome["state"] == "quarantined" or not held
            api.post("/v1/reports", message_id=reference, label="spam")
    assert len(api.get("/v1/reports")["items"]) == 2 * len(hostile)
    for path, field in (
        ("quarantine", "text"),
        ("quarantine", "recipient"),
        ("trace", "message_id"),
        ("trace", "mail_from"),
    ):
        answer = api.client.get(f"/v1/{path}", params={field: "a\0b"})
        assert answer.status_code < 500, answer.text
    assert daemon.audit()["clean"]


def test_two_nodes_are_one_filter(start: Start, exchange: StandInExchange) -> None:
    first, second = start("first"), start("second")
    api = Api(first)
    other = Api(second, api.token)
    # A body above storage.inline_bytes: it would be a file that only one node has.
    noise = b"".join(hashlib.sha256(b"%d" % n).hexdigest().encode() + b"\r\n" for n in range(40_000))
    large = send(first, "large", held=True, body=noise)
    many = [send((first, second)[n % 2], f"many {n}", held=True) for n in range(12)]
    assert [item["id"] for item in other.get("/v1/quarantine", subject="large")["items"]] == [taken(large)]
    for number, mail in enumerate([*many, large]):  # both deliver what is due
        (api, other)[number % 2].post(f"/v1/quarantine/{taken(mail)}/release")
    wait_until(lambda: all(arrived(exchange, mail) for mail in (*many, large)), 60, "the released copies")
    # What one blocks the other refuses.
    other.post("/v1/lists", network=f"{LISTED}/32", kind="block", comment="two nodes")
    wait_until(lambda: send(first, "blocked", held=True).code >= 500, 30, "the entry to reach the first node")
    # A start of one leaves alone what the other has in hand.
    with ThreadPoolExecutor() as threads:
        gate = exchange.hold["end-of-data"] = Gate()
        try:
            under_way = threads.submit(send, second, "under way")
            wait_until(gate.reached.is_set, 30, "the hand-over")
            first.stop()
            first.start()
        finally:
            gate.opened.set()
        reference = taken(under_way.result())
    assert [one["state"] for one in first.trace(reference)["message"]["outcomes"]] == ["forwarded"]
    assert arrived(exchange, large) == 1
    assert [arrived(exchange, mail) for mail in many] == [1] * len(many), "each delivered by one of them"
    for daemon in (first, second):
        assert daemon.audit()["clean"]


def test_a_server_that_is_restarted_costs_no_mail(start: Start, exchange: StandInExchange, postgres: Postgres) -> None:
    daemon = start("one")
    before = send(daemon, "before")
    for how in (signal.SIGINT, signal.SIGQUIT):
        postgres.stop(how)
        postgres.start()
        assert taken(send(daemon, "between", held=True))
    postgres.stop()
    try:
        down = [send(daemon, "down"), send(daemon, "down", held=True)]
        assert [mail.code for mail in down] == [451, 451], [mail.answers for mail in down]
        assert arrived(exchange, down[0]) == 0, "what the ledger does not know goes nowhere"
    finally:
        postgres.start()
    after = [send(daemon, "after"), send(daemon, "after", held=True)]
    assert all(taken(mail) for mail in after)
    assert [arrived(exchange, mail) for mail in (before, after[0])] == [1, 1]
    assert len(Api(daemon).get("/v1/quarantine")["items"]) == 3
    assert daemon.stop() == 0
    assert daemon.start().audit()["clean"]


def came(mails: list[Mail], count: int) -> bool:
    """Whether so many have been taken."""
    return sum(mail.accepted for mail in mails) >= count


def test_a_server_that_crashes_under_load_loses_nothing(
    start: Start, exchange: StandInExchange, postgres: Postgres
) -> None:
    daemon = start("one")
    mails = []
    for number in range(MANY):
        octets = b"From: a@example.com\r\nTo: bob@example.org\r\nSubject: load %d\r\n\r\n%d.\r\n" % (number, number)
        mails.append(Mail("a@example.com", RECIPIENT, octets, LISTED if number % 2 else "127.0.0.1"))

    with ThreadPoolExecutor() as threads:
        sent = threads.submit(lambda: asyncio.run(send_all(daemon.smtp_port, mails, 4, tries=1000)))
        for part in range(1, CRASHES + 1):
            enough = part * MANY // (CRASHES + 1)
            wait_until(partial(came, mails, enough), 60, f"{enough} messages")
            postgres.stop(signal.SIGQUIT)
            postgres.start()
        sent.result()
    api = Api(daemon)
    for mail in mails:
        held = [id for answer in mail.answers for id in re.findall(r"^250 .*\[(\w{16})\]$", answer)]
        assert mail.accepted == 1, mail.answers
        kept = api.client.get(f"/v1/quarantine/{held[0]}/message").status_code == 200
        assert arrived(exchange, mail) or kept, mail.answers
    assert {code for mail in mails for answer in mail.answers if (code := answer[:3])} <= {"250", "451"}
    assert daemon.stop() == 0, "what the ledger could not take is written now"
    report = daemon.start().audit()
    assert report["clean"], report
