"""Push mode through the real doors: nobody is known or unknown before the first list, everybody within seconds of a push."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.exchange import running_exchange
from tests.support.exchange_push import Item, Organization, PushFailedError, push
from tests.support.nameserver import running_nameserver

PUSH = "[push]\nenabled = true\n"
SECONDS = 10  # workers look every two; the machine may be busy


@dataclass
class Inside:
    """Who pushes, and strangers who try recipients."""

    daemon: Daemon
    client: httpx.Client

    def __call__(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        response = self.client.request(method, f"/v1/directory/{path}", content=body, headers=headers)
        if response.status_code >= 400:
            raise PushFailedError(str(response.json()["error"]))
        return response.json()

    def rcpt(self, address: str) -> str:
        """The reply to RCPT, its code and enhanced code."""
        with smtplib.SMTP("127.0.0.1", self.daemon.smtp_port, "mail.example.com", timeout=30) as smtp:
            smtp.ehlo()
            smtp.mail("a@example.com")
            code, text = smtp.rcpt(address)
            return f"{code} {text.decode().split()[0]}"

    def becomes(self, address: str, reply: str) -> None:
        wait_until(lambda: self.rcpt(address) == reply, SECONDS, f"{reply} for {address}, now {self.rcpt(address)}")

    def kept(self, folder: str = "state/directory") -> bytes:
        """All that lies in a folder of the daemon, in small letters."""
        files = (file for file in (self.daemon.folder / folder).rglob("*") if file.is_file())
        return b"".join(file.read_bytes() for file in files).lower()


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    folder = tmp_path_factory.mktemp("push")
    with running_exchange(folder / "maildir") as exchange, running_nameserver() as dns_port:
        daemon = Daemon(folder / "f", exchange.port, dns_port, workers=2, extra=PUSH, api=True).start()
        try:
            made = daemon.command("token", "create", "--name", "exchange", "--scope", "directory", "--json")
            token = json.loads(made.stdout)["token"]
            base = f"http://127.0.0.1:{daemon.api_port}"
            with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
                wait_until(lambda: _answers(client), 60, "the API to answer")
                yield Inside(daemon, client)
        finally:
            daemon.stop()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health").status_code == 200
    except httpx.TransportError:
        return False


def _items(count: int) -> list[Item]:
    return [
        Item(["SMTP:Anna.Example@example.org", "smtp:a.example@second.example"], thresholds={"junk": 3}),
        Item(["SMTP:board@example.org"], inside=True),
        Item(["SMTP:carl@example.org"], trusted=["friend@partner.example", "news.example"], blocked=["bad.example"]),
        *(Item([f"SMTP:user{number}@example.org"]) for number in range(count)),
    ]


DOMAINS = [("example.org", "Authoritative", False), ("second.example", "Authoritative", False)]


def test_from_the_first_push_to_one_that_is_refused(inside: Inside) -> None:
    workers = inside.daemon.smtp_workers()
    for address in ("anna.example@example.org", "nobody@example.org", "a.example@second.example"):
        assert inside.rcpt(address) == "451 4.4.3"
    exchange = Organization(DOMAINS, _items(20), protected=["Anna Example"])
    assert push(exchange, inside) == "24 addresses in use, 24 added, 0 dropped"
    inside.becomes("anna.example@example.org", "250 2.1.5")
    inside.becomes("a.EXAMPLE@second.example", "250 2.1.5")
    inside.becomes("nobody@example.org", "550 5.1.1")
    inside.becomes("board@example.org", "550 5.7.1")
    inside.becomes("anna@third.example", "550 5.7.1")

    # who is new is known without a restart, and who is gone is not
    exchange.items.append(Item(["SMTP:new@example.org"]))
    exchange.items = [item for item in exchange.items if "SMTP:user0@example.org" not in item.addresses]
    assert push(exchange, inside) == "24 addresses in use, 1 added, 1 dropped"
    inside.becomes("new@example.org", "250 2.1.5")
    inside.becomes("user0@example.org", "550 5.1.1")
    assert inside.daemon.smtp_workers() == workers

    # a push that would drop half
    half = Organization(DOMAINS, exchange.items[: len(exchange.items) // 2])
    with pytest.raises(PushFailedError, match=r"12 of 24 recipients would be dropped \(50\.0 %.*accept_drop"):
        push(half, inside)
    assert inside.rcpt("new@example.org") == "250 2.1.5"
    assert push(half, inside, accept_drop=True).startswith("12 addresses in use")
    inside.becomes("new@example.org", "550 5.1.1")

    pushed = [address.partition(":")[2] for item in exchange.items for address in item.addresses]
    senders = ["friend@partner.example", "news.example", "bad.example"]
    kept = inside.kept()
    assert not [address for address in pushed + senders if address.lower().encode() in kept]
    everything = inside.kept(".")  # database, logs: whom nobody wrote to stands nowhere
    asked = ("anna", "a.example", "board", "new@")
    assert not [a for a in pushed + senders if not a.lower().startswith(asked) and a.lower().encode() in everything]
    assert b"anna.example@example.org" in everything, "whom somebody wrote to stands in the record"
    assert b"example.org" in kept, "accepted domains are readable"
    assert b"anna example" not in kept, "the last list protects nobody"


def test_a_process_that_starts_answers_from_the_last_list(inside: Inside) -> None:
    exchange = Organization(DOMAINS, _items(5))
    push(exchange, inside, accept_drop=True)
    inside.daemon.stop()
    inside.daemon.start()
    assert inside.rcpt("user1@example.org") == "250 2.1.5"
    assert inside.rcpt("nobody@example.org") == "550 5.1.1"
