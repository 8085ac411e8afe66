"""How much a client, a reverse-path and a user may send: who is counted for what, and who is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filterd.checks.rate import Rate
from filterd.checks.sender_rate import SenderRate
from filterd.config import ClientsConfig
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from tests.support.checks import ALLOW_LISTED, CLIENT, ask, context
from tests.support.tallies import MemoryTallies

COUNTED = replace(CLIENT, network="192.0.2.7/32")
USER = replace(COUNTED, trust=TrustClass.AUTHENTICATED, user="anna")
SENDER = Mailbox("news", "sender.example")
PROVEN = Evidence("spf", Stage.MAIL, Result.PASS, Reason.OK)
CLIENTS = ClientsConfig(messages_per_minute=5, sender_messages_per_minute=3, user_messages_per_minute=2)


class Sending:
    """One check and its counters."""

    def __init__(self, clients: ClientsConfig = CLIENTS) -> None:
        self.now = 60_000.0
        self.tallies = MemoryTallies(lambda: self.now)
        self.checks = (Rate(clients, self.tallies), SenderRate(clients, self.tallies))

    def mail(
        self, connection: Connection = COUNTED, sender: Mailbox | None = SENDER, evidence: tuple[Evidence, ...] = ()
    ) -> list[str]:
        """What the next MAIL is over."""
        ctx = context(connection, envelope=Envelope("ID", sender), evidence=evidence)
        found = [item for check in self.checks for item in ask(check, ctx)]
        assert all((e.reason, e.scope) == (Reason.RATE_EXCEEDED, Scope.TRANSACTION) for e in found)
        return [e.detail for e in found]

    def over(self, times: int, connection: Connection = COUNTED, sender: Mailbox | None = SENDER) -> list[list[str]]:
        return [self.mail(connection, sender) for _ in range(times)]


def test_a_reverse_path_and_a_client_network_have_limits_of_their_own() -> None:
    sending = Sending()
    assert sending.over(6) == [[], [], [], ["reverse-path"], ["reverse-path"], ["client", "reverse-path"]]


def test_the_null_reverse_path_counts_for_the_client_only() -> None:
    assert Sending().over(6, sender=None) == [[], [], [], [], [], ["client"]]


def test_a_reverse_path_is_one_however_it_is_spelled_and_whoever_brings_it() -> None:
    sending = Sending()
    for number in range(3):
        client = replace(COUNTED, network=f"192.0.2.{number}/32")
        assert sending.mail(client, Mailbox("NEWS", "Sender.Example"), (PROVEN,)) == []
    assert sending.mail(evidence=(PROVEN,)) == ["reverse-path"]


def test_a_stranger_cannot_use_up_what_somebody_else_may_send() -> None:
    sending = Sending()
    stranger = replace(COUNTED, network="198.51.100.1/32")
    assert sending.over(4, stranger)[-1] == ["reverse-path"]
    assert sending.mail(evidence=(PROVEN,)) == []  # the sender's own server, for which SPF passes
    assert sending.mail() == []  # and any other, without SPF


def test_other_clients_and_reverse_paths_are_not_held_liable() -> None:
    sending = Sending()
    sending.over(10)
    assert sending.mail(replace(COUNTED, network="198.51.100.0/24"), Mailbox("other", "sender.example")) == []


def test_after_a_minute_it_is_over() -> None:
    sending = Sending()
    sending.over(10)
    sending.now += 60
    assert sending.mail() == []


def test_a_user_is_counted_by_name_whatever_the_address() -> None:
    sending = Sending()
    assert sending.over(2, USER) == [[], []]
    assert sending.mail(replace(USER, user="Anna", network="198.51.100.0/24")) == ["user"]
    assert sending.mail(replace(USER, user="bob")) == []
    assert sending.mail() == []  # and its messages are not those of the network


@pytest.mark.parametrize("trust", [TrustClass.INTERNAL, TrustClass.REPORT])
def test_our_own_servers_and_reports_are_not_limited(trust: TrustClass) -> None:
    assert Sending().over(20, replace(COUNTED, trust=trust)) == [[]] * 20


def test_allow_listed_clients_are_neither_limited_nor_counted() -> None:
    sending = Sending()
    assert [sending.mail(evidence=(ALLOW_LISTED,)) for _ in range(20)] == [[]] * 20
    assert sending.mail() == []


def test_a_connection_without_a_network_counts_for_its_reverse_path_only() -> None:
    assert Sending().over(4, replace(COUNTED, network="")) == [[], [], [], ["reverse-path"]]


def test_zero_is_no_limit() -> None:
    free = ClientsConfig(messages_per_minute=0, sender_messages_per_minute=0, user_messages_per_minute=0)
    assert Sending(free).over(50) == [[]] * 50
    assert Sending(free).over(50, USER) == [[]] * 50


def test_the_log_says_who_how_many_and_how_many_are_allowed() -> None:
    check = Rate(ClientsConfig(messages_per_minute=1, sender_messages_per_minute=0), MemoryTallies())
    ask(check, context(COUNTED, envelope=Envelope("ID", SENDER)))
    (found,) = ask(check, context(COUNTED, envelope=Envelope("ID", SENDER)))
    assert found.log_text == "192.0.2.7/32: 2 in a minute, 1 allowed"
