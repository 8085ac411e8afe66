"""Whoever tries out addresses is told from whoever has some old ones in a long list."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filterd.checks.harvest import WINDOW_SECONDS, Harvest
from filterd.config import ClientsConfig
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context
from tests.support.tallies import MemoryTallies

COUNTED = replace(CLIENT, network="192.0.2.7/32")
UNKNOWN, KNOWN, FOREIGN, SILENT = Reason.RECIPIENT_UNKNOWN, Reason.OK, Reason.RELAY_DENIED, Reason.UNAVAILABLE


class Asking:
    """One check that allows three unknown ones, and its counters."""

    def __init__(self, limit: int = 3) -> None:
        self.now = 60_000.0
        self.check = Harvest(ClientsConfig(harvest_unknown=limit), MemoryTallies(lambda: self.now))
        self._number = 0

    def rcpt(
        self, reason: Reason, connection: Connection = COUNTED, more: tuple[Evidence, ...] = ()
    ) -> Evidence | None:
        """What is found at the RCPT to which the directory answers `reason`."""
        self._number += 1
        mailbox = Mailbox(f"r{self._number}", "example.org")
        result = Result.PASS if reason is KNOWN else Result.FAIL
        answer = Evidence("recipient", Stage.RCPT, result, reason, Scope.RECIPIENT, recipient=mailbox.key)
        ctx = context(connection, recipient=Recipient(mailbox), evidence=(*more, answer))
        found = ask(self.check, ctx)
        assert all((e.scope, e.recipient) == (Scope.RECIPIENT, mailbox.key) for e in found)
        return found[0] if found else None

    def is_harvest(self, reason: Reason, connection: Connection = COUNTED, more: tuple[Evidence, ...] = ()) -> bool:
        found = self.rcpt(reason, connection, more)
        return found is not None and found.reason is Reason.HARVESTING


def test_too_many_unknown_recipients_are_a_harvest() -> None:
    asking = Asking()
    assert [asking.is_harvest(UNKNOWN) for _ in range(5)] == [False, False, False, True, True]


def test_not_while_more_are_known_than_unknown() -> None:
    asking = Asking()
    for _ in range(6):
        asking.rcpt(KNOWN)
    assert [asking.is_harvest(UNKNOWN) for _ in range(7)] == [False] * 6 + [True]


def test_a_recipient_that_exists_is_not_held_against_a_harvester() -> None:
    asking = Asking()
    for _ in range(10):
        asking.rcpt(UNKNOWN)
    assert asking.rcpt(KNOWN) is None


def test_the_count_stands_in_the_evidence_before_it_is_too_much() -> None:
    asking = Asking()
    found = [asking.rcpt(UNKNOWN) for _ in range(2)]
    assert [item and (item.reason, item.properties["unknown"]) for item in found] == [
        (Reason.OK, "1"),
        (Reason.OK, "2"),
    ]


@pytest.mark.parametrize("reason", [FOREIGN, SILENT, Reason.RECIPIENT_INTERNAL])
def test_foreign_domains_and_a_silent_directory_count_for_nothing(reason: Reason) -> None:
    asking = Asking()
    assert [asking.rcpt(reason) for _ in range(10)] == [None] * 10
    assert not asking.is_harvest(UNKNOWN)


def test_what_was_asked_ten_minutes_ago_is_forgotten() -> None:
    asking = Asking()
    for _ in range(10):
        asking.rcpt(UNKNOWN)
    asking.now += WINDOW_SECONDS
    assert not asking.is_harvest(UNKNOWN)


def test_other_networks_are_counted_apart() -> None:
    asking = Asking()
    for _ in range(10):
        asking.rcpt(UNKNOWN)
    assert not asking.is_harvest(UNKNOWN, replace(COUNTED, network="198.51.100.0/24"))


@pytest.mark.parametrize("trust", [TrustClass.INTERNAL, TrustClass.AUTHENTICATED, TrustClass.REPORT])
def test_only_internet_clients_are_counted(trust: TrustClass) -> None:
    asking = Asking()
    assert [asking.rcpt(UNKNOWN, replace(COUNTED, trust=trust)) for _ in range(10)] == [None] * 10
    assert not asking.is_harvest(UNKNOWN)


def test_allow_listed_clients_and_connections_without_a_network_are_not_counted() -> None:
    asking = Asking()
    assert [asking.rcpt(UNKNOWN, more=(ALLOW_LISTED,)) for _ in range(10)] == [None] * 10
    assert [asking.rcpt(UNKNOWN, replace(COUNTED, network="")) for _ in range(10)] == [None] * 10
    assert not asking.is_harvest(UNKNOWN)


def test_zero_is_no_limit() -> None:
    asking = Asking(limit=0)
    assert [asking.rcpt(UNKNOWN) for _ in range(100)] == [None] * 100
