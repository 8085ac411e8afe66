"""Another model comes into use while mail flows: no connection is dropped, every worker follows, a broken one changes nothing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd import metrics, modelstore, modelswitch
from filterd.app import ACTIVE_MODEL
from filterd.config import Config, load_config
from filterd.storage import ledger, settings
from filterd.storage.database import Database, open_database
from tests.support.daemon import Daemon, wait_until
from tests.support.exchange import running_exchange
from tests.support.load import Mail, send_one
from tests.support.models import installed
from tests.support.nameserver import running_nameserver
from tests.support.smtpclient import SmtpClient

CONNECTIONS = 20
BOUND = 10.0  # seconds until every worker has it
# Lists are hardly ever looked for here: models are all the same.  No limits of one client: all come from here.
EXTRA = """
[lists]
refresh_seconds = 600
[limits]
connections_per_client = 200
[clients]
connections_per_minute = 0
messages_per_minute = 0
sender_messages_per_minute = 0
greet_seconds = 0
[greylist]
enabled = false
"""
TEXT = b"From: a@example.com\r\nTo: bob@example.org\r\nSubject: plans\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nThursday then.\r\n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Daemon, Config, Database]]:
    with running_exchange(tmp_path / "maildir") as exchange, running_nameserver() as dns_port:
        daemon = Daemon(tmp_path / "f", exchange.port, dns_port, workers=2, extra=EXTRA).start()
        config = load_config(daemon.config)
        database = open_database(config)
        try:
            yield daemon, config, database
        finally:
            database.close()
            daemon.stop()


async def send_on(client: SmtpClient) -> str:
    """One more message on an open connection; its id."""
    for command, code in (("MAIL FROM:<a@example.com>", "250"), ("RCPT TO:<bob@example.org>", "250"), ("DATA", "354")):
        answer = await client.command(command)
        assert answer.startswith(code), answer
    await client.send(TEXT + b".\r\n")
    answer = await client.reply()
    found = re.search(r"\[(\w{16})\]$", answer)
    assert answer.startswith("250"), answer
    assert found is not None, answer
    return found[1]


def model_of(database: Database, reference: str) -> str:
    """The model in a message's evidence record."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = ledger.trace(database, reference)
        if found is not None and found.evidence is not None:
            return found.evidence.model
        time.sleep(0.01)  # the record is written a moment after the answer
    raise AssertionError(f"no evidence of {reference}")


async def models_of(database: Database, clients: list[SmtpClient]) -> list[str]:
    """The model that judges the next message of each connection."""
    references = [await send_on(client) for client in clients]
    return [await asyncio.to_thread(model_of, database, reference) for reference in references]


async def flow(port: int, stop: asyncio.Event, sent: list[Mail]) -> None:
    """Mail on connections of its own, one after the other."""
    while not stop.is_set():
        mail = Mail("a@example.com", "bob@example.org", TEXT)
        await send_one(port, mail)
        sent.append(mail)


def test_a_promotion_reaches_every_worker_and_drops_nobody(house: tuple[Daemon, Config, Database]) -> None:
    daemon, config, database = house
    workers = sorted(daemon.smtp_workers())
    seed = modelstore.load(config, modelstore.active_model(config, database)).name
    row = installed(config, database, "candidate-1")

    async def story() -> None:
        clients = [await SmtpClient.greeted(daemon.smtp_port) for _ in range(CONNECTIONS)]
        stop, sent = asyncio.Event(), list[Mail]()
        flowing = asyncio.create_task(flow(daemon.smtp_port, stop, sent))
        assert set(await models_of(database, clients)) == {seed}
        half_way = await SmtpClient.greeted(daemon.smtp_port)
        assert (await half_way.command("MAIL FROM:<a@example.com>")).startswith("250")
        started = time.monotonic()
        await asyncio.to_thread(modelswitch.promote, config, database, "candidate-1", "test")
        begun = started
        while set(found := await models_of(database, clients)) != {row.model}:
            assert begun - started < BOUND, found  # of messages that began to come later all are judged by the new one
            begun = time.monotonic()
        # A transaction that was open meanwhile ends well, and every connection still talks.
        assert (await half_way.command("RCPT TO:<bob@example.org>")).startswith("250")
        assert (await half_way.command("DATA")).startswith("354")
        await half_way.send(TEXT + b".\r\n")
        assert (await half_way.reply()).startswith("250")
        for client in (*clients, half_way):
            assert (await client.command("QUIT")).startswith("221")
        stop.set()
        await flowing
        assert sent
        assert {mail.code for mail in sent} == {250}, [mail.answer for mail in sent if mail.code != 250]

    asyncio.run(story())
    assert sorted(daemon.smtp_workers()) == workers, "no process was started anew"
    assert daemon.audit()["clean"]


def refused(config: Config) -> float:
    """The metric that says so, over all workers."""
    found = metrics.samples(config.state_dir / "run" / "metrics")
    return max((value for name, _, value in found if name == "filterd_model_refused"), default=0.0)


def test_a_broken_signature_leaves_the_old_model_in_use(house: tuple[Daemon, Config, Database]) -> None:
    daemon, config, database = house
    first, second = (installed(config, database, f"candidate-{n}", n) for n in (1, 2))
    modelswitch.promote(config, database, "candidate-1", "test")

    async def judged_by() -> set[str]:
        clients = [await SmtpClient.greeted(daemon.smtp_port) for _ in range(8)]
        found = set(await models_of(database, clients))
        for client in clients:
            await client.command("QUIT")
        return found

    wait_until(lambda: asyncio.run(judged_by()) == {first.model}, BOUND + 5, "the first candidate to be in use")
    folder = config.state_dir / "models" / "candidate-2"
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace("1.911581", "9.911581"))
    settings.set(database, ACTIVE_MODEL, "candidate-2")  # what no command of ours does with such a model
    wait_until(lambda: daemon.log_text().count("the old model stays in use") == 2, BOUND + 5, "both workers to say so")
    assert refused(config) == 1
    assert "the signature does not fit manifest.json" in daemon.log_text()
    assert asyncio.run(judged_by()) == {first.model}
    doctor = daemon.command("doctor")
    assert "the signature does not fit" in doctor.stdout
    # Restored from the backup it is taken without a restart.
    (folder / "manifest.json").write_text(manifest)
    wait_until(lambda: asyncio.run(judged_by()) == {second.model}, BOUND + 5, "the repaired model to be in use")
    assert refused(config) == 0
