"""Greylisting: who is told to come again, who is spared, and what counts as the same client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.checks.base import CheckContext
from filterd.checks.greylist import GreylistCheck
from filterd.config import GreylistConfig
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Envelope, Recipient, TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage
from tests.support.doubles import MemoryGreylist

CLIENT = Connection(ip_address("192.0.2.7"), helo="mail.client.example", network="192.0.2.7/32")
SENDER = Mailbox("Sender", "Client.Example")
ANNA = Mailbox("Anna", "Example.org")
START = 1_800_000_000.0
DELAY = 240


def recipient_found(mailbox: Mailbox, result: Result = Result.PASS) -> Evidence:
    reason = Reason.OK if result is Result.PASS else Reason.RECIPIENT_UNKNOWN
    return Evidence("recipient", Stage.RCPT, result, reason, Scope.RECIPIENT, recipient=mailbox.key)


ALLOWED = Evidence("lists", Stage.CONNECT, Result.PASS, Reason.ALLOW_LISTED, Scope.CONNECTION)
BLOCKED = Evidence("lists", Stage.CONNECT, Result.FAIL, Reason.BLOCK_LISTED, Scope.CONNECTION)
SPF_PASS = Evidence("spf", Stage.MAIL, Result.PASS, Reason.OK)
SPF_FAIL = Evidence("spf", Stage.MAIL, Result.FAIL, Reason.SPF_FAIL)


@dataclass
class World:
    """A check, its memory and its clock."""

    config: GreylistConfig = field(default_factory=lambda: GreylistConfig(delay_seconds=DELAY))
    memory: MemoryGreylist = field(default_factory=MemoryGreylist)
    now: float = START

    def ask(
        self,
        connection: Connection = CLIENT,
        sender: Mailbox | None = SENDER,
        to: Mailbox = ANNA,
        before: Iterable[Evidence] = (),
        doubtful: bool = True,
        recipient: Evidence | None = None,
    ) -> Evidence | None:
        check = GreylistCheck(self.config, self.memory, lambda: self.now)
        ctx = CheckContext(
            connection,
            Deadline.after(5),
            (*before, recipient or recipient_found(to)),
            Envelope("06H0000000000001", sender),
            Recipient(to),
            doubtful=doubtful,
        )

        async def scene() -> list[Evidence]:
            return list(await check(ctx))

        found = asyncio.run(scene())
        assert len(found) <= 1
        return found[0] if found else None

    def reason(self, **scene: object) -> Reason | None:
        found = self.ask(**scene)  # type: ignore[arg-type]  # test shorthand
        return found.reason if found else None


def test_doubtful_mail_is_told_to_come_again_and_how_long_to_wait() -> None:
    found = World().ask()
    assert found is not None
    assert (found.reason, found.result, found.scope) == (Reason.GREYLISTED, Result.NEUTRAL, Scope.RECIPIENT)
    assert (found.recipient, found.properties) == ("anna@example.org", {"wait_seconds": "240"})


@pytest.mark.parametrize(("later", "wait"), [(1, "239"), (100.5, "140"), (239.999, "1")])
def test_who_comes_too_early_waits_for_the_rest(later: float, wait: str) -> None:
    world = World()
    world.ask()
    world.now += later
    found = world.ask()
    assert found is not None
    assert (found.reason, found.properties["wait_seconds"]) == (Reason.GREYLISTED, wait)


def test_who_comes_again_passes_and_is_known_for_everything() -> None:
    world = World()
    world.ask()
    world.now += DELAY
    found = world.ask()
    assert found is not None
    assert (found.reason, found.result, found.recipient) == (Reason.GREYLIST_PASSED, Result.PASS, "anna@example.org")
    world.now += 1
    assert world.reason(sender=None, to=Mailbox("bert", "example.org")) is Reason.GREYLIST_PASSED


def test_a_known_client_that_goes_on_is_not_forgotten() -> None:
    world = World()
    world.ask()
    world.now += DELAY
    for _ in range(5):
        assert world.reason() is Reason.GREYLIST_PASSED
        world.now += 30 * 86_400  # keep_days is 35
    world.now += 6 * 86_400
    assert world.reason() is Reason.GREYLISTED


def test_a_clock_behind_that_of_another_node_does_no_harm() -> None:
    world = World()
    world.ask()
    world.now -= 30
    found = world.ask()
    assert found is not None
    assert found.properties == {"wait_seconds": "240"}


@pytest.mark.parametrize(
    "scene",
    [
        {"doubtful": False},
        {"connection": replace(CLIENT, trust=TrustClass.INTERNAL)},
        {"connection": replace(CLIENT, trust=TrustClass.AUTHENTICATED)},
        {"before": [ALLOWED]},
        {"recipient": recipient_found(ANNA, Result.FAIL)},
        {"recipient": recipient_found(ANNA, Result.TEMPERROR)},
        {"recipient": recipient_found(Mailbox("other", "example.org"))},
    ],
)
def test_who_is_spared(scene: dict[str, object]) -> None:
    world = World()
    assert world.reason(**scene) is None
    assert not world.memory.tries


def test_it_can_be_turned_off() -> None:
    assert World(GreylistConfig(enabled=False)).reason() is None


def test_a_block_entry_spares_nobody() -> None:
    assert World().reason(before=[BLOCKED]) is Reason.GREYLISTED


@pytest.mark.parametrize(
    ("before", "sender", "spared"),
    [
        ([SPF_PASS], SENDER, True),
        ([SPF_FAIL], SENDER, False),
        ([], SENDER, False),
        ([SPF_PASS], Mailbox("x", "sub.client.example"), False),
        ([SPF_PASS], None, False),  # it passed for the HELO name, which says nothing about a reverse-path
    ],
)
def test_a_known_sender_is_spared_when_spf_passes(before: list[Evidence], sender: Mailbox | None, spared: bool) -> None:
    world = World()
    asyncio.run(world.memory.remember_sender("client.example", int(START * 1000), Deadline.after(5)))
    asyncio.run(world.memory.remember_sender("mail.client.example", int(START * 1000), Deadline.after(5)))
    assert world.reason(before=before, sender=sender) is (None if spared else Reason.GREYLISTED)


def test_an_unknown_sender_is_not_spared_by_spf() -> None:
    assert World().reason(before=[SPF_PASS]) is Reason.GREYLISTED


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.7", "192.0.2.200", True),
        ("192.0.2.7", "192.0.3.7", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ],
)
def test_neighbours_are_one_client(first: str, second: str, same: bool) -> None:
    world = World()
    world.ask(replace(CLIENT, client_ip=ip_address(first), network=""))
    world.now += DELAY
    again = replace(CLIENT, client_ip=ip_address(second), network=f"{second}/{128 if ':' in second else 32}")
    assert world.reason(connection=again) is (Reason.GREYLIST_PASSED if same else Reason.GREYLISTED)


def test_a_wider_network_that_clients_are_counted_by_counts_here_too() -> None:
    world = World()
    world.ask(replace(CLIENT, client_ip=ip_address("2001:db8:0:1::1"), network="2001:db8::/48"))
    world.now += DELAY
    again = replace(CLIENT, client_ip=ip_address("2001:db8:0:2::1"), network="2001:db8::/48")
    assert world.reason(connection=again) is Reason.GREYLIST_PASSED


def test_sender_and_recipient_are_compared_without_case() -> None:
    world = World()
    world.ask()
    world.now += DELAY
    assert world.reason(sender=Mailbox("SENDER", "CLIENT.example"), to=Mailbox("ANNA", "EXAMPLE.ORG")) is (
        Reason.GREYLIST_PASSED
    )


def test_another_sender_or_recipient_waits_for_itself() -> None:
    world = World()
    world.ask()
    world.now += DELAY
    assert world.reason(sender=Mailbox("other", "client.example")) is Reason.GREYLISTED
    assert world.reason(to=Mailbox("bert", "example.org")) is Reason.GREYLISTED


def test_bounces_of_one_server_are_told_apart_by_its_helo_name() -> None:
    world = World()
    world.ask(sender=None)
    world.now += DELAY
    assert world.reason(sender=None, connection=replace(CLIENT, helo="other.example")) is Reason.GREYLISTED
    assert world.reason(sender=None) is Reason.GREYLIST_PASSED


def test_a_memory_that_does_not_answer_is_for_the_guard() -> None:
    world = World(memory=MemoryGreylist(error=TemporaryError("locked", "busy")))
    with pytest.raises(TemporaryError, match="locked"):
        world.ask()


def test_another_stage_or_no_recipient_is_nothing_to_say() -> None:
    check = GreylistCheck(GreylistConfig(), MemoryGreylist(), lambda: START)

    async def scene() -> list[Evidence]:
        return list(await check(CheckContext(CLIENT, Deadline.after(5), doubtful=True)))

    assert asyncio.run(scene()) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 400)), max_size=30))
def test_nobody_waits_longer_than_the_delay_and_nobody_less(steps: list[tuple[str, int]]) -> None:
    world = World()
    first: dict[str, float] = {}
    passed = False
    for name, pause in steps:
        world.now += pause
        began = first.setdefault(name, world.now)
        found = world.ask(to=Mailbox(name, "example.org"))
        assert found is not None
        passed = passed or world.now - began >= DELAY
        if passed:
            assert found.reason is Reason.GREYLIST_PASSED
        else:
            assert int(found.properties["wait_seconds"]) == began + DELAY - world.now
