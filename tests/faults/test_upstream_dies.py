"""Owns the proof that an upstream that dies loses no mail, whatever was said last: the client keeps it and sends it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from filterd.ports import TerminalState
from filterd.storage import ledger
from tests.support.certificate import server_context
from tests.support.dying import STEPS, DyingUpstream, Way
from tests.support.handover import Scene, before
from tests.support.threaded import in_thread

pytestmark = [pytest.mark.slow]

LONG = 350_000  # octets; upstream dies after some of them
WAYS: tuple[Way, ...] = ("fin", "rst", "silence")
# One second each: long enough for a loopback on a busy machine, and a test that waits for silence does not last.
IMPATIENT = {"reuse": 1, "connect_seconds": 1.0, "command_seconds": 1.0, "data_seconds": 1.0}
# TLS is a wish here: a handshake that fails is followed by a connection in clear text, in the same hand-over.
SECOND_CHANCE = ("handshake",)
# Upstream has it and could not say so.  Nobody but upstream could tell the second copy from the first.
TWICE = ("kept",)
# The end of the message has left: 4.4.2, we do not know what became of it.
IN_DOUBT = ("end", "kept")
# How much has left by then, into the socket at least, is chance: with BDAT all may follow its command.
EITHER = ("data", "middle")
CASES = [(step, way) for step in STEPS for way in WAYS if step != "refused" or way == "fin"]


@dataclass
class Stage:
    """filterd before an upstream that dies."""

    scene: Scene
    upstream: DyingUpstream


@pytest.fixture(scope="module", params=[True, False], ids=["bdat", "data"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("dying")
    upstream = DyingUpstream(server_context(folder), chunking=request.param)
    with in_thread(upstream), before(upstream, folder, "", IMPATIENT) as scene:
        scene.send_until_accepted(scene.new("forwarded"))  # over the connection that was made at the start
        yield Stage(scene, upstream)
        assert scene.daemon.stop() == 0
        scene.check_ledger()


@pytest.mark.parametrize(("step", "way"), CASES)
def test_the_client_keeps_what_upstream_did_not_take(stage: Stage, step: str, way: Way) -> None:
    scene, upstream = stage.scene, stage.upstream
    sent = scene.new("forwarded", LONG)
    died = upstream.died
    upstream.set_fate(step, way)
    try:
        answer = scene.try_once(sent)
    finally:
        upstream.set_fate()
    assert upstream.died > died or step == "refused"
    told = ["451 4.4.2 "] if step in IN_DOUBT else ["451 4.4.1 "]
    told += ["451 4.4.2 "] if step in EITHER else ["250 "] if step in SECOND_CHANCE else []
    assert answer.startswith(tuple(told))
    scene.send_until_accepted(sent)
    assert len(sent.answers) == (1 if answer.startswith("250") else 2)
    assert scene.copies(sent) == (2 if step in TWICE else 1, 0)
    tries = ledger.search_trace(scene.database, recipient=sent.recipient).items
    states = [[row.state for row in one.outcomes] for one in reversed(tries)]
    assert states == [[TerminalState.DEFERRED]] * (len(sent.answers) - 1) + [[TerminalState.FORWARDED]]
