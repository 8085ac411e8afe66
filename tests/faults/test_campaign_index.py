"""Owns the proof that the index of near-duplicates, however it fails, loses, defers and alters no mail."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.daemon import wait_until
from tests.support.handover import Kind, Scene, Sent, armed

pytestmark = [pytest.mark.slow]

KINDS: tuple[Kind, ...] = ("forwarded", "held", "both")
TEXT = (
    b"The meeting about the new library next to the station has been moved to Thursday, because the large room is being\r\n"
    b"painted this week. Please read the minutes of the last one before, we will begin with the open questions in them.\r\n"
)
BROKEN = "CREATE TRIGGER broken BEFORE INSERT ON campaign_members BEGIN SELECT RAISE(ABORT, 'no index today'); END"


def send(scene: Scene, kind: Kind) -> Sent:
    """One message that is like all others of this module, sent until it is accepted."""
    sent = scene.new(kind)
    head, _, _ = sent.octets.partition(b"\r\n\r\n")
    sent.octets = head + b"\r\n\r\n" + TEXT
    scene.send_until_accepted(sent)
    return sent


def ask(scene: Scene, statement: str) -> list[tuple[object, ...]]:
    path = scene.database.url.database
    assert path
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        return connection.execute(statement).fetchall()


def counted(scene: Scene) -> list[tuple[object, ...]]:
    return ask(scene, "SELECT sum(forwarded), sum(quarantined) FROM campaign_hours GROUP BY campaign")


def check(scene: Scene) -> None:
    """Every message is where it belongs, once, unaltered, and was accepted at the first try."""
    for sent in scene.sent:
        assert scene.copies(sent) == (1 if sent.kind != "held" else 0, 0 if sent.kind == "forwarded" else 1)
        assert len(sent.answers) == 1


def test_an_index_that_fails_touches_no_mail_and_counts_again_when_it_is_well(tmp_path: Path) -> None:
    with armed(tmp_path, "") as scene:
        for kind in KINDS:
            send(scene, kind)
        wait_until(lambda: counted(scene) == [(2, 1)], 20, "the counts")
        ask(scene, BROKEN)
        for kind in KINDS:
            send(scene, kind)
        wait_until(lambda: "campaigns are counted later" in scene.daemon.log_text(), 20, "the index to fail")
        check(scene)
        ask(scene, "DROP TRIGGER broken")
        send(scene, "forwarded")
        wait_until(lambda: counted(scene) == [(5, 2)], 20, "what was not counted meanwhile")
        ask(scene, BROKEN)
        send(scene, "held")
        assert scene.daemon.stop() == 0
        assert counted(scene) == [(5, 2)], "what cannot be written at the end is lost, and nothing else"
        check(scene)
        scene.check_ledger()


def test_a_death_with_counts_in_memory_loses_counts_alone(tmp_path: Path) -> None:
    with armed(tmp_path, "") as scene:
        ask(scene, BROKEN)  # so that they are in memory for certain
        for kind in KINDS:
            send(scene, kind)
        scene.daemon.kill()
        ask(scene, "DROP TRIGGER broken")
        scene.daemon.start()
        send(scene, "forwarded")
        wait_until(lambda: counted(scene) == [(1, 0)], 20, "the counts")
        check(scene)
        assert scene.daemon.stop() == 0
        scene.check_ledger()
