"""500 real messages from several clients at once through the running filter into a real Postfix: every one accounted for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from filterd.config import load_config
from filterd.storage import quarantine
from filterd.storage.database import open_database
from tests.support.daemon import Daemon
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver
from tests.support.postfix import Postfix, running_postfix
from tests.support.realmail import real_messages

COUNT = 500
CLIENTS = 8

pytestmark = [pytest.mark.server("postfix"), pytest.mark.corpus, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Postfix]]:
    messages = real_messages(1)  # skips by name before anything is started
    assert messages
    with running_postfix() as postfix, running_nameserver() as dns_port:
        daemon = Daemon(tmp_path_factory.mktemp("filterd"), postfix.port, dns_port).start()
        try:
            yield daemon, postfix
        finally:
            daemon.stop()


def after_our_fields(stored: bytes) -> bytes:
    """What follows filterd's fields in a mail that Postfix has stored (LF line ends)."""
    match = re.search(rb"^X-Filterd-Report:.*\n(?:[ \t].*\n)*(?:X-Filterd-Separator:.*\n)?", stored, re.MULTILINE)
    assert match is not None, stored[:2000]
    return stored[match.end() :]


def test_every_message_is_accounted_for(stage: tuple[Daemon, Postfix]) -> None:
    daemon, postfix = stage
    mails = [
        Mail(f"sender{n}@client{n % 7}.example.com", f"m{n:04d}@example.org", octets, f"127.0.0.{10 + n % 20}")
        for n, (_, octets) in enumerate(real_messages(COUNT))
    ]
    # a few that must be refused before DATA, so that every kind of ending occurs
    for n in range(0, COUNT, 50):
        mails[n].recipient = f"m{n:04d}@foreign.example"
    asyncio.run(send_all(daemon.smtp_port, mails, CLIENTS))
    postfix.settle()
    assert not [m.answer for m in mails if m.code not in (250, 550, 552, 500)], daemon.log_text()[-3000:]

    stored = postfix.by_recipient()
    database = open_database(load_config(daemon.config))
    ends: dict[str, int] = {"forwarded": 0, "quarantined": 0, "refused": 0, "deferred": 0}
    for mail in mails:
        copies = stored.get(mail.recipient, [])
        reference = re.search(r"\[(\w{16})\]$", mail.answer)
        if mail.code == 250 and copies:
            assert len(copies) == 1, "a duplicate without any failure"
            sent = mail.octets.replace(b"\r\n", b"\n")
            assert after_our_fields(copies[0]) == sent, mail.recipient
            ends["forwarded"] += 1
        elif mail.code == 250:
            assert reference is not None
            assert quarantine.body(database, reference[1]) == mail.octets
            ends["quarantined"] += 1
        else:
            assert not copies, "refused and yet delivered"
            ends["refused" if mail.code >= 500 else "deferred"] += 1
    print(ends)
    assert sum(ends.values()) == COUNT
    assert ends["refused"] >= COUNT // 50
    assert ends["forwarded"] > COUNT // 4
    assert ends["quarantined"] > 0
    report = daemon.audit()
    assert report["clean"], report["disagreements"]


def test_a_refused_message_can_be_traced_by_the_id_in_the_reply(stage: tuple[Daemon, Postfix]) -> None:
    daemon, _ = stage
    mail = Mail("a@client.example.com", "x@foreign.example", b"Subject: x\r\n\r\n")
    asyncio.run(send_all(daemon.smtp_port, [mail], 1))
    reference = re.search(r"^550 5\.7\.1 .*\[(\w{16})\]$", mail.answer)
    assert reference is not None, mail.answer
    found = daemon.trace(reference[1])
    assert found["message"]["outcomes"][0]["state"] == "rejected"
