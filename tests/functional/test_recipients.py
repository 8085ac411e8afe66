"""Recipients from files through the real door: a plain list, then a hashed one, changed and damaged while mail comes."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.directory import put
from tests.support.exchange import running_exchange
from tests.support.nameserver import running_nameserver

SECONDS = 15  # files are looked at every two; the machine may be busy
# Further keys of a table stand with it, and the daemon's own configuration has [recipients].
PUT_AFTER = 'accepted_domains = ["example.org"]\n'
KEYS = "relay_domains = ['relay.example']\nexternal_relay_domains = ['partner.example']\nfile = 'plain'\nhashed_file = 'hashed'\n"


class Listed(Daemon):
    """A daemon with both lists."""

    def write_config(self) -> None:
        super().write_config()
        self.config.write_text(self.config.read_text().replace(PUT_AFTER, PUT_AFTER + KEYS))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Listed]:
    with running_exchange(tmp_path / "maildir") as exchange, running_nameserver() as dns_port:
        made = Listed(tmp_path / "f", exchange.port, dns_port, workers=1)
        made.write_config()
        put(made.folder / "plain", "anna@example.org\n")
        hashed(made, "bob@example.org")
        made.start()
        try:
            yield made
        finally:
            made.stop()


def hashed(daemon: Daemon, *addresses: str) -> None:
    put(daemon.folder / "source", "\n".join(addresses))
    daemon.command("directory", "hash", str(daemon.folder / "source"), "--output", str(daemon.folder / "hashed"))


def rcpt(daemon: Daemon, address: str) -> str:
    with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "mail.example.com", timeout=30) as smtp:
        smtp.ehlo()
        smtp.mail("a@example.com")
        code, text = smtp.rcpt(address)
        return f"{code} {text.decode().split()[0]}"


def test_both_lists_are_asked_and_followed(daemon: Listed) -> None:
    said = {
        "Anna@Example.org": "250 2.1.5",
        "bob@example.org": "250 2.1.5",
        "carl@example.org": "550 5.1.1",
        "anybody@relay.example": "250 2.1.5",
        "anybody@partner.example": "250 2.1.5",
        "anna@elsewhere.example": "550 5.7.1",
        "postmaster@example.org": "250 2.1.5",
    }
    assert {address: rcpt(daemon, address) for address in said} == said

    hashed(daemon, "bob@example.org", "carl@example.org")
    wait_until(lambda: rcpt(daemon, "carl@example.org") == "250 2.1.5", SECONDS, "a new recipient")

    for name in ("plain", "hashed"):
        put(daemon.folder / name, "")
    wait_until(lambda: daemon.log_text().count("file cannot be used") >= 2, SECONDS, "both to be called unusable")
    assert [rcpt(daemon, f"{name}@example.org") for name in ("anna", "bob", "carl")] == ["250 2.1.5"] * 3
    assert rcpt(daemon, "dora@example.org") == "550 5.1.1", "what was read before stays in use, for both answers"

    shown = daemon.command("directory", "status").stdout
    assert "holds no address" in shown
    assert "cannot answer" in shown
