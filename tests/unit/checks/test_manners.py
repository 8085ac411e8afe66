"""What the front end has seen of a client's manners becomes evidence; nobody else's is looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filterd.checks.manners import Manners
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Reason, Result, Scope
from tests.support.checks import CLIENT, ask, context

RUDE = replace(CLIENT, early=True, unasked_pipelining=True)


def test_who_waits_for_his_turn_leaves_nothing() -> None:
    assert ask(Manners(), context()) == []


@pytest.mark.parametrize(
    ("early", "unasked", "reasons"),
    [
        (True, False, [Reason.EARLY_TALKER]),
        (False, True, [Reason.UNASKED_PIPELINING]),
        (True, True, [Reason.EARLY_TALKER, Reason.UNASKED_PIPELINING]),
    ],
)
def test_who_does_not_is_named(early: bool, unasked: bool, reasons: list[Reason]) -> None:
    found = ask(Manners(), context(replace(CLIENT, early=early, unasked_pipelining=unasked)))
    assert [e.reason for e in found] == reasons
    assert {(e.result, e.scope) for e in found} == {(Result.FAIL, Scope.CONNECTION)}


@pytest.mark.parametrize("trust", [TrustClass.INTERNAL, TrustClass.AUTHENTICATED, TrustClass.REPORT])
def test_our_own_clients_may_be_hasty(trust: TrustClass) -> None:
    assert ask(Manners(), context(replace(RUDE, trust=trust))) == []
