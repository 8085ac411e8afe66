"""SIGKILL of SMTP workers at random moments under load: every message that got a 250 is in upstream or the quarantine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
from pathlib import Path

import pytest

from filterd.config import load_config
from filterd.storage import quarantine
from filterd.storage.database import open_database
from tests.support.daemon import Daemon
from tests.support.load import Mail, send_all
from tests.support.nameserver import running_nameserver
from tests.support.postfix import running_postfix
from tests.support.realmail import real_messages

ROUNDS = 30  # kills at least; more, up to three times as many, until HITS of them broke a conversation
HITS = 10
CLIENTS = 10
WORKERS = 3
GROWN_S = 3.5  # a worker of this age serves, and its successor is started at once
SEED = 20261123

pytestmark = [pytest.mark.server("postfix"), pytest.mark.corpus, pytest.mark.slow]


def test_nothing_that_got_a_250_is_lost(tmp_path: Path) -> None:
    originals = real_messages(300)
    dice = random.Random(SEED)
    with running_postfix() as postfix, running_nameserver() as dns_port:
        daemon = Daemon(tmp_path / "filterd", postfix.port, dns_port, workers=WORKERS).start()
        try:
            sent = asyncio.run(_load_and_kill(daemon, originals, dice))
            postfix.settle()
            stored = postfix.by_recipient()
            database = open_database(load_config(daemon.config))
            lost, duplicates = [], 0
            for mail in sent:
                held = [
                    r
                    for r in re.findall(r"250 \S+ .*\[(\w{16})\]", "\n".join(mail.answers))
                    if quarantine.get(database, r)
                ]
                places = len(stored.get(mail.recipient, [])) + len(held)
                duplicates += max(0, places - 1)
                if mail.accepted and not places:
                    lost.append((mail.recipient, mail.answers))
            unanswered = broken(sent)
            print(
                f"{ROUNDS} or more kills, {len(sent)} messages, {unanswered} broken connections, {duplicates} duplicates, {len(lost)} lost"
            )
            assert not lost
            assert unanswered >= HITS, "the kills hit nobody: the test shows nothing"
        finally:
            status = daemon.stop()
        assert status == 0
        # the next start closes what the last killed workers left open
        daemon.start()
        try:
            report = daemon.audit()
            assert report["clean"], report["disagreements"]
        finally:
            daemon.stop()


def broken(sent: list[Mail]) -> int:
    """Conversations that ended without an answer."""
    return sum(1 for mail in sent for answer in mail.answers if not answer)


async def _load_and_kill(daemon: Daemon, originals: tuple[tuple[str, bytes], ...], dice: random.Random) -> list[Mail]:
    sent: list[Mail] = []
    done = asyncio.Event()

    async def load() -> None:
        number = 0
        while not done.is_set():
            batch = []
            for _ in range(CLIENTS * 2):
                octets = originals[number % len(originals)][1]
                batch.append(Mail(f"s{number}@client.example.com", f"k{number:05d}@example.org", octets))
                number += 1
            sent.extend(batch)
            await send_all(daemon.smtp_port, batch, CLIENTS, tries=8, pause=0.2)

    async def kill() -> None:
        born: dict[int, float] = {}
        loop = asyncio.get_running_loop()
        kills = 0
        while kills < ROUNDS or (kills < 3 * ROUNDS and broken(sent) < HITS):
            kills += 1
            grown: list[int] = []
            while not grown:  # one that is still reading its model has nothing in work: killing it shows nothing
                await asyncio.sleep(0.05)
                for pid in (alive := daemon.smtp_workers()):
                    born.setdefault(pid, loop.time())
                grown = [pid for pid in alive if loop.time() - born[pid] > GROWN_S]
            await asyncio.sleep(dice.uniform(0.0, 1.0))  # the random moment is the point
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(grown), signal.SIGKILL)
        done.set()

    await asyncio.gather(load(), kill())
    return sent
