"""Name servers that lie, stall, forge and cannot: every question ends in the right kind, in time, and leaves nothing open."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable

import dns.message
import dns.rcode
import dns.rrset
import pytest
import uvloop

from filterd import metrics
from filterd.adapters.dns_client import MAX_STRANGERS, Server, ask
from filterd.errors import TemporaryError
from filterd.wire.dns_answer import Answer
from filterd.wire.dns_query import encode_name
from tests.support.liar import (
    FORGED,
    RIGHT,
    Liar,
    answer_to,
    for_another_name,
    framed,
    in_other_letters,
    lying,
    right,
    settled,
    truncated,
)

NAME = "mx1.mail-out.example.com"


Test = Callable[[Server], Awaitable[None]]
Run = Callable[[Liar, Test], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test against a liar, and see that no socket and no task of the client's is left."""

    def runner(liar: Liar, test: Test) -> None:
        async def main() -> None:
            async with lying(liar) as server:
                open_before = len(os.listdir("/proc/self/fd"))
                await test(server)
                await settled(lambda: len(os.listdir("/proc/self/fd")) <= open_before and len(asyncio.all_tasks()) == 1)

        (asyncio if request.param == "asyncio" else uvloop).run(main())

    return runner


async def asked(server: Server, seconds: float = 5.0) -> Answer:
    name = encode_name(NAME)
    assert name is not None
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        return await ask(server, name, 1, started + seconds)
    finally:
        assert loop.time() - started < seconds + 2


async def kind_of_failure(server: Server, seconds: float = 5.0) -> str:
    with pytest.raises(TemporaryError) as caught:
        await asked(server, seconds)
    assert str(server) in str(caught.value), "the text names the server"
    return caught.value.kind


def strangers() -> float:
    return float(metrics.DNS_STRANGERS._value.get())


# ---------------------------------------------------------------- forgeries


def test_every_question_has_an_id_a_port_and_letters_of_its_own(run: Run) -> None:
    liar = Liar()

    async def test(server: Server) -> None:
        for _ in range(40):
            assert (await asked(server)).records == (RIGHT,)

    run(liar, test)
    assert len({data[:2] for data, _ in liar.seen}) > 35
    assert len({data[12:-11] for data, _ in liar.seen}) > 35
    assert len({port for _, port in liar.seen}) > 35


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_an_answer_from_another_port_or_address_does_not_arrive(run: Run, address: str) -> None:
    liar = Liar()

    async def test(server: Server) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spoofer:
            spoofer.bind((address, 0 if address == server.address else server.port))
            liar.before = lambda data, client: spoofer.sendto(answer_to(data, FORGED), client)
            assert (await asked(server)).records == (RIGHT,)

    run(liar, test)


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda data: bytes((data[0] ^ 0x80,)) + answer_to(data, FORGED)[1:], id="id"),
        pytest.param(lambda data: answer_to(for_another_name(data), FORGED), id="question"),
        pytest.param(lambda data: data, id="an-echo"),
        pytest.param(lambda data: b"\0", id="one-octet"),
        pytest.param(lambda data: os.urandom(1232), id="noise"),
    ],
)
def test_what_does_not_match_is_passed_over_and_counted(run: Run, forge: Callable[[bytes], bytes]) -> None:
    liar = Liar()
    liar.says = lambda data: [forge(data), forge(data), right(data)]

    async def test(server: Server) -> None:
        before = strangers()
        assert (await asked(server)).records == (RIGHT,)
        assert strangers() == before + 2
        assert liar.seen_tcp == []

    run(liar, test)


def test_a_port_that_is_guessed_at_is_left_for_tcp(run: Run) -> None:
    liar = Liar()
    liar.says = lambda data: [bytes((data[0] ^ 1, n)) + answer_to(data, FORGED)[2:] for n in range(MAX_STRANGERS)]

    async def test(server: Server) -> None:
        assert (await asked(server)).records == (RIGHT,)
        assert len(liar.seen_tcp) == 1

    run(liar, test)


def test_an_answer_in_other_letters_is_not_believed_but_asked_for_over_tcp(run: Run) -> None:
    liar = Liar()
    liar.says = lambda data: [answer_to(in_other_letters(data), FORGED)]

    async def test(server: Server) -> None:
        before = strangers()
        assert (await asked(server)).records == (RIGHT,)
        assert strangers() == before + 1
        assert server.keeps_case, "over TCP the letters were right: it was not the server"

    run(liar, test)


def test_a_server_that_changes_case_can_be_used(run: Run) -> None:
    liar = Liar()

    def small(data: bytes) -> bytes:
        return answer_to(data[:12] + data[12:-11].lower() + data[-11:], RIGHT)

    liar.says = lambda data: [small(data)]
    liar.over_tcp = lambda data: (framed(small(data)), True)

    async def test(server: Server) -> None:
        for _ in range(3):
            assert (await asked(server)).records == (RIGHT,)
        assert not server.keeps_case
        assert (len(liar.seen), len(liar.seen_tcp)) == (3, 1)

    run(liar, test)


def test_a_server_that_changes_case_and_has_no_tcp_is_named(run: Run) -> None:
    liar = Liar()
    liar.says = lambda data: [answer_to(in_other_letters(data), RIGHT)]
    liar.over_tcp = None

    async def test(server: Server) -> None:
        with pytest.raises(TemporaryError, match="over TCP") as caught:
            await asked(server)
        assert caught.value.kind == "unreachable"
        assert server.keeps_case

    run(liar, test)


# ---------------------------------------------------------------- nonsense, silence


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(lambda data: right(data)[:-15], id="cut"),
        pytest.param(lambda data: answer_to(data)[:6] + b"\xff\xff" + answer_to(data)[8:], id="counts-lie"),
        pytest.param(lambda data: answer_to(data, RIGHT, rcode="NXDOMAIN"), id="contradiction"),
    ],
)
def test_nonsense_is_broken(run: Run, says: Callable[[bytes], bytes]) -> None:
    liar = Liar()
    liar.says = lambda data: [says(data)]

    async def test(server: Server) -> None:
        assert await kind_of_failure(server) == "broken"

    run(liar, test)


def test_silence_is_a_timeout(run: Run) -> None:
    liar = Liar()
    liar.says = lambda data: []

    async def test(server: Server) -> None:
        assert await kind_of_failure(server, 0.05) == "timeout"

    run(liar, test)


def test_nobody_there_is_unreachable(run: Run) -> None:
    async def test(server: Server) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        assert await kind_of_failure(Server("127.0.0.1", port)) == "unreachable"

    run(Liar(), test)


def test_one_who_waits_no_longer_leaves_nothing(run: Run) -> None:
    liar = Liar()
    liar.says = lambda data: []

    async def test(server: Server) -> None:
        waiting = asyncio.create_task(asked(server))
        await settled(lambda: bool(liar.seen))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    run(liar, test)


# ---------------------------------------------------------------- TCP


@pytest.mark.parametrize("says", [truncated, lambda data: answer_to(data, *(f"192.0.2.{n}" for n in range(200)))])
def test_what_does_not_fit_into_a_datagram_comes_over_tcp(run: Run, says: Callable[[bytes], bytes]) -> None:
    many = [f"192.0.2.{n}" for n in range(200)]
    liar = Liar()
    liar.says = lambda data: [says(data)]
    liar.over_tcp = lambda data: (framed(answer_to(data, *many)), True)

    async def test(server: Server) -> None:
        assert set((await asked(server)).records) == set(many)

    run(liar, test)


@pytest.mark.parametrize(
    ("octets", "stays", "kind"),
    [
        pytest.param(lambda data: b"", True, "timeout", id="stalls"),
        pytest.param(lambda data: b"\0", True, "timeout", id="stalls-in-the-length"),
        pytest.param(lambda data: framed(right(data))[:-1], True, "timeout", id="stalls-in-the-message"),
        pytest.param(lambda data: b"", False, "unreachable", id="closes"),
        pytest.param(lambda data: framed(right(data))[:-1], False, "unreachable", id="closes-in-the-message"),
        pytest.param(lambda data: b"\0\5" + right(data), True, "broken", id="length-too-small"),
        pytest.param(lambda data: b"\xff\xff" + bytes(65535), True, "broken", id="length-too-large"),
        pytest.param(lambda data: (len(right(data)) - 20).to_bytes(2) + right(data), True, "broken", id="length-lies"),
        pytest.param(lambda data: framed(truncated(data)), True, "broken", id="truncated-again"),
        pytest.param(lambda data: framed(right(b"\0\0" + data[2:])), True, "broken", id="another-id"),
        pytest.param(lambda data: framed(right(for_another_name(data))), True, "broken", id="name"),
        pytest.param(
            lambda data: framed(answer_to(data, *(f"10.0.{n >> 8}.{n & 255}" for n in range(600)))),
            True,
            "broken",
            id="many",
        ),
        pytest.param(lambda data: framed(right(data) + bytes(40_000)), True, "broken", id="oversize"),
    ],
)
def test_tcp_that_lies_or_stalls(run: Run, octets: Callable[[bytes], bytes], stays: bool, kind: str) -> None:
    liar = Liar()
    liar.says = lambda data: [truncated(data)]
    liar.over_tcp = lambda data: (octets(data), stays)

    async def test(server: Server) -> None:
        assert await kind_of_failure(server, 0.1 if kind == "timeout" else 5.0) == kind

    run(liar, test)


# ---------------------------------------------------------------- EDNS


@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP", "BADVERS"])
@pytest.mark.parametrize("bare", [False, True])
def test_a_server_without_edns_is_asked_without(run: Run, rcode: str, bare: bool) -> None:
    liar = Liar()

    def says(data: bytes) -> list[bytes]:
        if dns.message.from_wire(data).edns < 0:
            return [right(data)]
        if bare and rcode != "BADVERS":  # the upper bits of that one lie in EDNS
            return [data[:2] + struct.pack("!BBHHHH", 0x81, 0x80 | dns.rcode.from_text(rcode), 0, 0, 0, 0)]
        return [answer_to(data, rcode=rcode)]

    liar.says = says

    async def test(server: Server) -> None:
        for _ in range(2):
            assert (await asked(server)).records == (RIGHT,)
        assert len(liar.seen) == 3, "the second question is asked without at once"

    run(liar, test)


def test_a_server_that_does_not_understand_the_question_at_all_is_asked_with_edns_again(run: Run) -> None:
    liar = Liar()
    liar.says = lambda data: [answer_to(data, rcode="FORMERR")]

    async def test(server: Server) -> None:
        assert (await asked(server)).rcode == dns.rcode.FORMERR
        assert server.edns

    run(liar, test)
