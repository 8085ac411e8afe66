"""What every Resolver promises, on the double and on DnsResolver against our loopback server and a real one (nsd)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from filterd.adapters.resolver import DnsResolver
from filterd.deadline import Deadline
from filterd.errors import ConfigError, TemporaryError
from filterd.ports import DnsAnswer, DnsStatus, Resolver
from tests.support.dns import LoopbackDns, MapResolver, loopback_dns
from tests.support.nsd import nsd, owner, text_rdata

RECORDS: dict[tuple[str, str], list[str]] = {
    ("example.com", "A"): ["192.0.2.1", "192.0.2.2"],
    ("example.com", "MX"): ["10 mx1.example.com", "20 mx2.example.com"],
    ("null.example.com", "MX"): ["0 ."],
    ("example.com", "TXT"): ["v=spf1 -all", 'caf\xe9 \\ "quoted"'],
    ("big.example.com", "TXT"): ["x" * 3000],
    ("v6.example.com", "AAAA"): ["2001:db8::1"],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["host.example.com"],
    ("alias.example.com", "CNAME"): ["alias2.example.com"],
    ("alias2.example.com", "CNAME"): ["example.com"],
    ("dangling.example.com", "CNAME"): ["nothing.example.net"],
    ("loop.example.com", "CNAME"): ["loop2.example.com"],
    ("loop2.example.com", "CNAME"): ["loop.example.com"],
    ("deep.below.example.com", "A"): ["192.0.2.9"],
    ("a_b.example.com", "A"): ["192.0.2.7"],
}
FAILING: set[str | tuple[str, str]] = {"broken.example.com", ("broken-type.example.com", "AAAA")}
ZONES = ("example.com", "example.net", "2.0.192.in-addr.arpa")  # a real server has a zone for each, and joins no CNAMEs
Maker = Callable[[], AbstractAsyncContextManager[Resolver]]


@asynccontextmanager
async def in_memory() -> AsyncIterator[Resolver]:
    yield MapResolver(RECORDS, FAILING)


@asynccontextmanager
async def real() -> AsyncIterator[Resolver]:
    async with loopback_dns(RECORDS, FAILING) as server:
        resolver = DnsResolver((server.server,), 2.0, 100)
        yield resolver
        await resolver.close()


@asynccontextmanager
async def real_with_own_chaining() -> AsyncIterator[Resolver]:
    async with loopback_dns(RECORDS, FAILING) as server:
        server.follow = False
        resolver = DnsResolver((server.server,), 2.0, 0)
        yield resolver
        await resolver.close()


def zone_texts() -> dict[str, str]:
    """RECORDS as nsd reads them."""
    texts = dict.fromkeys(ZONES, "")
    for (name, rdtype), records in RECORDS.items():
        zone = next(zone for zone in ZONES if name.endswith(zone))
        for record in records:
            if rdtype == "MX":
                preference, _, exchange = record.partition(" ")
                rdata = f"{preference} {'.' if exchange == '.' else owner(exchange)}"
            elif rdtype == "TXT":
                rdata = text_rdata(record)
            else:
                rdata = owner(record) if rdtype in ("CNAME", "PTR") else record
            texts[zone] += f"{owner(name)} {rdtype} {rdata}\n"
    return texts


@pytest.fixture(scope="module")
def nsd_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    failing = [item if isinstance(item, str) else item[0] for item in FAILING]
    with nsd(tmp_path_factory.mktemp("nsd"), zone_texts(), failing) as address:
        yield address


@pytest.fixture(
    params=[
        pytest.param(in_memory, id="double"),
        pytest.param(real, id="dns"),
        pytest.param(real_with_own_chaining, id="dns-no-chaining"),
        pytest.param(None, id="nsd", marks=pytest.mark.server("nsd")),
    ]
)
def maker(request: pytest.FixtureRequest) -> Maker:
    if request.param is not None:
        result: Maker = request.param
        return result
    address: str = request.getfixturevalue("nsd_address")

    @asynccontextmanager
    async def against_nsd() -> AsyncIterator[Resolver]:
        resolver = DnsResolver((address,), 2.0, 100)
        yield resolver
        await resolver.close()

    return against_nsd


def ask(maker: Maker, name: str, rdtype: str) -> DnsAnswer:
    async def main() -> DnsAnswer:
        async with maker() as resolver:
            return await resolver.query(name, rdtype, Deadline.after(5))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "rdtype", "records"),
    [
        ("example.com", "A", {"192.0.2.1", "192.0.2.2"}),
        ("EXAMPLE.com.", "a", {"192.0.2.1", "192.0.2.2"}),
        ("example.com", "MX", {"10 mx1.example.com", "20 mx2.example.com"}),
        ("null.example.com", "MX", {"0 ."}),
        ("example.com", "TXT", {"v=spf1 -all", 'caf\xe9 \\ "quoted"'}),
        ("big.example.com", "TXT", {"x" * 3000}),
        ("v6.example.com", "AAAA", {"2001:db8::1"}),
        ("1.2.0.192.in-addr.arpa", "PTR", {"host.example.com"}),
        ("alias.example.com", "A", {"192.0.2.1", "192.0.2.2"}),
        ("alias.example.com", "CNAME", {"alias2.example.com"}),
        ("a_b.example.com", "A", {"192.0.2.7"}),
    ],
)
def test_records_come_in_the_agreed_form(maker: Maker, name: str, rdtype: str, records: set[str]) -> None:
    answer = ask(maker, name, rdtype)
    assert answer.status == DnsStatus.NOERROR
    assert set(answer.records) == records
    assert 0 < answer.ttl <= 3600


@pytest.mark.parametrize(
    ("name", "rdtype", "status"),
    [
        ("example.com", "PTR", DnsStatus.NODATA),
        ("below.example.com", "A", DnsStatus.NODATA),  # an empty non-terminal exists
        ("alias.example.com", "PTR", DnsStatus.NODATA),
        ("nothing.example.com", "A", DnsStatus.NXDOMAIN),
        ("dangling.example.com", "A", DnsStatus.NXDOMAIN),
        ("loop.example.com", "A", DnsStatus.NODATA),
        ("a..example.com", "A", DnsStatus.NXDOMAIN),
        ("a" * 64 + ".example.com", "A", DnsStatus.NXDOMAIN),
        ("b." * 130 + "example.com", "A", DnsStatus.NXDOMAIN),
        ("m\xfcller.example.com", "A", DnsStatus.NXDOMAIN),
        ("", "A", DnsStatus.NXDOMAIN),
    ],
)
def test_no_data_and_no_name_are_kept_apart(maker: Maker, name: str, rdtype: str, status: DnsStatus) -> None:
    answer = ask(maker, name, rdtype)
    assert answer.status == status
    assert answer.records == ()


@pytest.mark.parametrize(("name", "rdtype"), [("broken.example.com", "A"), ("broken-type.example.com", "AAAA")])
def test_a_failure_is_no_answer(maker: Maker, name: str, rdtype: str) -> None:
    with pytest.raises(TemporaryError) as caught:
        ask(maker, name, rdtype)
    assert caught.value.kind == "servfail"


def test_a_passed_deadline_is_a_timeout(maker: Maker) -> None:
    async def main() -> None:
        async with maker() as resolver:
            await resolver.query("example.com", "A", Deadline.after(-1))

    with pytest.raises(TemporaryError) as caught:
        asyncio.run(main())
    assert caught.value.kind == "timeout"


# ---------------------------------------------------------------- what only the real one can show


def with_server(
    test: Callable[[LoopbackDns], Coroutine[None, None, None]],
    records: dict[tuple[str, str], list[str]] | None = None,
    ttl: int = 300,
) -> None:
    async def main() -> None:
        async with loopback_dns(RECORDS if records is None else records, FAILING, ttl) as server:
            await test(server)

    asyncio.run(main())


def test_the_cache_keeps_answers_until_their_ttl_and_no_longer() -> None:
    now = [1000.0]

    async def test(server: LoopbackDns) -> None:
        resolver = DnsResolver((server.server,), 2.0, 100, clock=lambda: now[0])
        for _ in range(3):
            await resolver.query("example.com", "A", Deadline.after(5))
            await resolver.query("nothing.example.com", "A", Deadline.after(5))
        assert len(server.questions) == 2
        now[0] += server.soa_minimum + 1
        await resolver.query("example.com", "A", Deadline.after(5))
        assert len(server.questions) == 2
        await resolver.query("nothing.example.com", "A", Deadline.after(5))
        assert len(server.questions) == 3
        now[0] += 300
        await resolver.query("example.com", "A", Deadline.after(5))
        assert len(server.questions) == 4

    with_server(test)


def test_long_ttls_are_capped() -> None:
    async def test(server: LoopbackDns) -> None:
        server.soa_minimum = 86400
        resolver = DnsResolver((server.server,), 2.0, 100)
        assert (await resolver.query("example.com", "A", Deadline.after(5))).ttl == 3600
        assert (await resolver.query("nothing.example.com", "A", Deadline.after(5))).ttl == 900

    with_server(test, ttl=999_999)


def test_the_cache_is_bounded() -> None:
    async def test(server: LoopbackDns) -> None:
        resolver = DnsResolver((server.server,), 2.0, 2)
        for rdtype in ("A", "MX", "TXT", "A"):
            await resolver.query("example.com", rdtype, Deadline.after(5))
        assert len(server.questions) == 4
        await resolver.query("example.com", "A", Deadline.after(5))
        assert len(server.questions) == 4

    with_server(test)


def test_failures_are_not_kept() -> None:
    async def test(server: LoopbackDns) -> None:
        resolver = DnsResolver((server.server,), 2.0, 100)
        with pytest.raises(TemporaryError):
            await resolver.query("broken.example.com", "A", Deadline.after(5))
        server.table.failing.discard("broken.example.com")
        answer = await resolver.query("broken.example.com", "A", Deadline.after(5))
        assert answer.status == DnsStatus.NXDOMAIN

    with_server(test)


def test_many_waiters_share_one_question_and_one_who_leaves_does_not_end_it() -> None:
    async def test(server: LoopbackDns) -> None:
        server.answers.clear()
        resolver = DnsResolver((server.server,), 5.0, 100)
        waiters = [asyncio.create_task(resolver.query("example.com", "A", Deadline.after(5))) for _ in range(5)]
        impatient = asyncio.create_task(resolver.query("example.com", "A", Deadline.after(0.01)))
        with pytest.raises(TemporaryError) as caught:
            await impatient
        assert caught.value.kind == "timeout"
        waiters[0].cancel()
        await asyncio.gather(waiters[0], return_exceptions=True)
        server.answers.set()
        answers = await asyncio.gather(*waiters[1:])
        assert all(answer.status == DnsStatus.NOERROR for answer in answers)
        assert len(server.questions) == 1

    with_server(test)


def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    async def test(server: LoopbackDns) -> None:
        resolver = DnsResolver((server.server,), 2.0, 100)
        await resolver.query("big.example.com", "TXT", Deadline.after(5))
        assert [transport for *_, transport in server.questions] == ["udp", "tcp"]

    with_server(test)


def test_a_silent_or_refusing_server_is_passed_over_within_the_deadline() -> None:
    async def test(server: LoopbackDns) -> None:
        async with loopback_dns({}) as mute, loopback_dns({}, {"example.com"}) as failing:
            mute.silent.add("example.com")
            resolver = DnsResolver((mute.server, failing.server, server.server), 0.6, 100)
            answer = await resolver.query("example.com", "A", Deadline.after(5))
            assert answer.status == DnsStatus.NOERROR
            await resolver.query("example.com", "MX", Deadline.after(5))
            assert len(mute.questions) == 1  # the server that answered is asked first from then on
            await resolver.close()

    with_server(test)


def test_silence_is_a_timeout_and_is_over_in_time() -> None:
    async def test(server: LoopbackDns) -> None:
        server.silent.add("example.com")
        resolver = DnsResolver((server.server,), 0.2, 100)
        started = asyncio.get_running_loop().time()
        with pytest.raises(TemporaryError) as caught:
            await resolver.query("example.com", "A", Deadline.after(5))
        assert caught.value.kind == "timeout"
        assert asyncio.get_running_loop().time() - started < 2
        assert len(server.questions) == 2  # a lost datagram is not the end

    with_server(test)


@pytest.mark.parametrize(
    "text", ["resolver.example.com", "127.0.0.1:0", "127.0.0.1:dns", "[::1]x", "", "1.2.3.4:70000"]
)
def test_a_server_that_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ConfigError):
        DnsResolver((text,))


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:5353"])
def test_server_forms(text: str) -> None:
    DnsResolver((text,))


def test_the_system_servers_are_the_default() -> None:
    DnsResolver()
