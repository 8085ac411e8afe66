"""Who may come in: by client, all together, by the minute, and who has to go for others."""

from __future__ import annotations

import pytest

from filterd.config import ClientsConfig, LimitsConfig
from filterd.frontends.smtp.admission import Admission, Ticket
from filterd.frontends.smtp.conversation import SmtpConversation
from filterd.frontends.smtp.server import MIN_IDLE_S
from filterd.mail.envelope import TrustClass, parse_ip
from filterd.mail.reply import Reply
from tests.support.fakesession import Served
from tests.support.smtpclient import SmtpClient
from tests.support.stories import run, until
from tests.support.tallies import MemoryTallies

NET, INSIDE = TrustClass.INTERNET, TrustClass.INTERNAL
V4, OTHER = parse_ip("192.0.2.1"), parse_ip("192.0.2.2")


def admission(
    tallies: MemoryTallies | None = None, *, per_minute: int = 0, connections: int = 1000, each: int = 50
) -> Admission:
    limits = LimitsConfig(connections=connections, connections_per_client=each)
    clients = ClientsConfig(connections_per_minute=per_minute)
    return Admission(limits, clients, tallies if tallies is not None else MemoryTallies())


def text(answer: Ticket | Reply) -> str:
    return str(answer) if isinstance(answer, Reply) else ""


def ticket(answer: Ticket | Reply) -> Ticket:
    assert isinstance(answer, Ticket), answer
    return answer


# ---------------------------------------------------------------- counting


def test_connections_of_one_client() -> None:
    door = admission(each=2)
    first = ticket(door.enter(V4, door.limits, NET))
    ticket(door.enter(V4, door.limits, NET))
    assert text(door.enter(V4, door.limits, NET)).startswith("421 4.7.0 Too many connections from your network,")
    ticket(door.enter(OTHER, door.limits, NET))
    first.leave()
    ticket(door.enter(V4, door.limits, NET))
    assert (door.refused, door.count) == (1, 3)


def test_a_listener_may_allow_one_client_more() -> None:
    door = admission(each=1)
    ticket(door.enter(V4, door.limits, NET))
    ticket(door.enter(V4, door.limits.model_copy(update={"connections_per_client": 2}), INSIDE))


def test_connections_all_together() -> None:
    door = admission(connections=2)
    tickets = [ticket(door.enter(address, door.limits, NET)) for address in (V4, OTHER)]
    assert text(door.enter(V4, door.limits, NET)).startswith("421 4.7.0 Too many connections,")
    assert door.count == 2
    tickets[0].leave()
    ticket(door.enter(V4, door.limits, NET))


def test_connections_in_a_minute() -> None:
    now = 0.0
    door = admission(MemoryTallies(lambda: now), per_minute=3)
    for _ in range(3):
        ticket(door.enter(V4, door.limits, NET)).leave()
    assert text(door.enter(V4, door.limits, NET)).startswith("421 4.7.0 Too many connections from your network in a")
    ticket(door.enter(OTHER, door.limits, NET))
    ticket(door.enter(V4, door.limits, INSIDE))  # our own servers may come as often as they have mail
    now = 61.0
    ticket(door.enter(V4, door.limits, NET))


def test_ipv6_clients_are_networks_and_mapped_addresses_are_ipv4() -> None:
    door = admission(each=1)
    first = ticket(door.enter(parse_ip("2001:db8::1"), door.limits, NET))
    assert first.network == "2001:db8::/64"
    assert isinstance(door.enter(parse_ip("2001:db8::ffff:1"), door.limits, NET), Reply)
    ticket(door.enter(parse_ip("2001:db8:0:1::1"), door.limits, NET))
    ticket(door.enter(V4, door.limits, NET))
    assert isinstance(door.enter(parse_ip("::ffff:192.0.2.1"), door.limits, NET), Reply)


def test_limits_hold_over_workers_that_share_their_counts() -> None:
    tallies = MemoryTallies()
    one, two = (admission(tallies, connections=3, each=2, per_minute=5) for _ in range(2))
    mine = ticket(one.enter(V4, one.limits, NET))
    ticket(two.enter(V4, two.limits, NET))
    assert "from your network," in text(one.enter(V4, one.limits, NET))
    assert "from your network," in text(two.enter(V4, two.limits, NET))
    ticket(two.enter(OTHER, two.limits, NET))
    assert "Too many connections, " in text(one.enter(parse_ip("192.0.2.3"), one.limits, NET))
    mine.leave()
    ticket(two.enter(V4, two.limits, NET))
    assert "in a minute" in text(one.enter(V4, one.limits, NET))  # the sixth attempt, wherever they came


def test_refused_or_not_everything_is_given_back_exactly_once() -> None:
    tallies = MemoryTallies()
    door = admission(tallies, connections=3, each=2)
    answers = [door.enter(address, door.limits, NET) for address in (V4, V4, V4, OTHER, OTHER)]
    kept = [answer for answer in answers if isinstance(answer, Ticket)]
    assert len(kept) == 3
    for each in kept:
        each.leave()
        each.leave()
    assert not any(tallies.open.values())
    assert door.count == 0


@pytest.mark.parametrize(("entered", "pressed"), [(7, False), (8, True), (10, True)])
def test_pressed_from_four_fifths_on(entered: int, pressed: bool) -> None:
    door = admission(connections=10)
    tickets = [ticket(door.enter(V4, door.limits, NET)) for _ in range(entered)]
    assert door.pressed is pressed
    for each in tickets:
        each.leave()
    assert not door.pressed


# ---------------------------------------------------------------- making room


def age(served: Served, seconds: float = MIN_IDLE_S) -> None:
    """Let those who are idle now have been so for long."""
    for conversation in served.handle.endpoint.conversations:
        assert isinstance(conversation, SmtpConversation)
        if conversation.idle_since is not None:
            conversation.idle_since -= seconds


async def idle(served: Served, count: int) -> None:
    await until(
        lambda: sum(each.idle_since is not None for each in served.handle.endpoint.conversations) == count, "idle"
    )


def test_the_longest_idle_one_makes_room_for_a_newcomer() -> None:
    async def story(served: Served) -> None:
        first = await SmtpClient.greeted(served.port)
        await idle(served, 1)
        age(served, 1)
        second = await SmtpClient.greeted(served.port)
        await idle(served, 2)
        age(served)
        newcomer = await SmtpClient.greeted(served.port)
        assert (await first.rest()).startswith(b"421 4.3.2 ")
        for client in (second, newcomer):
            await client.begin()
            await client.send(b"x\r\n.\r\n")
            assert await client.reply() == "250 2.0.0 Taken"
        assert served.front.admission.count == 2
        assert served.front.admission.refused == 0

    run(story, connections=2)


def test_somebody_in_a_transaction_or_just_come_is_never_sent_away() -> None:
    async def story(served: Served) -> None:
        busy, sending, fresh = [await SmtpClient.greeted(served.port) for _ in range(3)]
        await idle(served, 3)
        await busy.command("MAIL FROM:<a@example.org>")
        await sending.begin()
        await sending.send(b"half a line")
        newcomer = await SmtpClient.connect(served.port)
        assert (await newcomer.rest()).startswith(b"421 4.7.0 Too many connections,")
        assert (await busy.command("RCPT TO:<b@example.com>")).startswith("250")
        await sending.send(b"\r\n.\r\n")
        assert await sending.reply() == "250 2.0.0 Taken"
        assert (await fresh.command("NOOP")).startswith("250")

    run(story, connections=3)


def test_one_that_leaves_makes_room_for_one() -> None:
    """Many who come at the same moment: the place of the idle one is given away once."""

    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await idle(served, 1)
        age(served)
        (conversation,) = served.handle.endpoint.conversations
        admission = served.front.admission
        answers = [admission.enter(V4, admission.limits, NET) for _ in range(5)]
        kept = [answer for answer in answers if isinstance(answer, Ticket)]
        assert len(kept) == 1
        assert conversation.idle_since is None
        await until(lambda: not served.handle.endpoint.conversations, "the idle one has gone")
        assert admission.count == 1
        assert (await client.rest()).startswith(b"421 4.3.2 ")
        kept[0].leave()

    run(story, connections=1)


def test_who_is_sent_away_in_the_moment_of_a_command_is_told_so_and_gets_no_transaction() -> None:
    """His place is given away already: he must not go on, uncounted, with all that he has pipelined."""

    async def story(served: Served) -> None:
        client = await SmtpClient.greeted(served.port)
        await idle(served, 1)
        (conversation,) = served.handle.endpoint.conversations
        assert isinstance(conversation, SmtpConversation)
        conversation.make_room()
        conversation.data_received(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        assert (await client.rest()).startswith(b"421 4.3.2 ")
        await served.session.closed.wait()
        assert not any(call.startswith("mail") for call in served.session.calls)

    run(story)


def test_a_client_that_is_refused_costs_no_session() -> None:
    async def story(served: Served) -> None:
        first = await SmtpClient.greeted(served.port)
        for _ in range(5):
            client = await SmtpClient.connect(served.port)
            assert (await client.rest()).startswith(b"421 4.7.0 ")
        assert len(served.session.connections) == 1
        assert len(served.handle.endpoint.conversations) == 1
        assert (await first.command("NOOP")).startswith("250")

    run(story, connections_per_client=1)
