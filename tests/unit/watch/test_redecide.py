"""What a shadow would change of a message, and whether the content decided what was done with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.config import Config
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from filterd.mail.verdict import Action
from filterd.watch.redecide import Redecider
from tests.support.live import ANNA, configuration, content, record_of, with_trust
from tests.support.sideservice import make_config

BOB = "bob@example.net"
LISTED = Evidence("dnsbl", Stage.CONNECT, Result.FAIL, Reason.LISTED, measured=5.0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path)


@pytest.mark.parametrize(
    ("log_odds", "would", "action", "then", "strictness"),
    [
        (-4.0, -3.0, Action.ACCEPT, Action.ACCEPT, 0),
        (-4.0, 3.0, Action.ACCEPT, Action.TAG, 1),
        (3.0, 0.5, Action.TAG, Action.ACCEPT, -1),
        (3.0, 6.0, Action.TAG, Action.QUARANTINE, 1),
    ],
)
def test_what_the_shadow_changes(
    config: Config, log_odds: float, would: float, action: Action, then: Action, strictness: int
) -> None:
    found = Redecider(config).compare(record_of(content(log_odds, "one", "two", would)), "internet", "one", "two")
    assert found is not None
    assert (found.action, found.would, found.strictness) == (action, then, strictness)
    assert (found.log_odds, found.would_log_odds) == (log_odds, would)


@pytest.mark.parametrize("other", [content(1.0), content(1.0, "one", "three", 9.0), content(1.0, "zero", "two", 9.0)])
def test_only_messages_that_both_judged_are_compared(config: Config, other: Evidence) -> None:
    assert Redecider(config).compare(record_of(other), "internet", "one", "two") is None


def test_observe_mode_hides_no_change(tmp_path: Path) -> None:
    config = make_config(tmp_path, policy={"observe": True})
    found = Redecider(config).compare(record_of(content(-4.0, "one", "two", 9.0)), "", "one", "two")
    assert found is not None
    assert found.would is Action.QUARANTINE


def test_of_several_recipients_the_one_for_whom_it_changes(config: Config) -> None:
    unknown = Evidence("recipient", Stage.RCPT, Result.FAIL, Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT, recipient=BOB)
    for would, expected in ((3.0, (Action.ACCEPT, Action.TAG)), (-3.0, (Action.ACCEPT, Action.ACCEPT))):
        record = record_of(unknown, content(-4.0, "one", "two", would), recipients=(ANNA, BOB))
        found = Redecider(config).compare(record, "internet", "one", "two")
        assert found is not None
        assert (found.action, found.would) in (expected, (Action.REJECT, Action.REJECT))
        assert found.strictness == (would > 0)
    record = record_of(unknown, content(3.0, "one", "two", -3.0), recipients=(ANNA, BOB))
    found = Redecider(config).compare(record, "internet", "one", "two")
    assert found is not None
    assert (found.action, found.would) == (Action.TAG, Action.ACCEPT)


def test_what_the_content_decided(config: Config) -> None:
    redecider = Redecider(config)
    assert redecider.decided_by_content(record_of(content(3.0)))
    assert redecider.decided_by_content(record_of(LISTED, content(3.0))), "the list alone would not have refused"
    assert not redecider.decided_by_content(record_of(content(-3.0))), "nothing was done"
    assert not redecider.decided_by_content(record_of(LISTED)), "the list did it"
    malware = Evidence("malware", Stage.DATA, Result.FAIL, Reason.MALWARE_FOUND, detail="Eicar")
    assert not redecider.decided_by_content(record_of(malware, content(6.0)))


def test_the_class_of_a_client_is_that_of_the_record_else_of_the_listener(tmp_path: Path) -> None:
    config = make_config(tmp_path, listeners=[{"name": "inside", "trust": "internal", "port": 0}])
    redecider, record = Redecider(config), record_of(content(1.0))
    assert redecider.trust(with_trust(record, "authenticated"), "inside") is TrustClass.AUTHENTICATED
    assert redecider.trust(with_trust(record, ""), "inside") is TrustClass.INTERNAL
    assert redecider.trust(with_trust(record, ""), "gone") is TrustClass.INTERNET
