"""DnsResolver and a name server that is not ours: sizes, transports, chains, absence, many questions at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from prometheus_client import REGISTRY

from filterd.adapters.resolver import DnsResolver
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.ports import DnsAnswer, DnsStatus
from tests.support.nsd import nsd, text_rdata

pytestmark = pytest.mark.server("nsd")

SMALL, MEDIUM, LARGE, HUGE = "x" * 300, "y" * 900, "z" * 12_000, "w" * 40_000
MANY = [f"10.0.{n >> 8}.{n & 255}" for n in range(600)]
ZONES = {
    "one.example": "\n".join(
        [
            f"small TXT {text_rdata(SMALL)}",
            f"medium TXT {text_rdata(MEDIUM)}",
            f"large TXT {text_rdata(LARGE)}",
            f"huge TXT {text_rdata(HUGE)}",
            *(f"many A {address}" for address in MANY[:150]),
            *(f"too-many A {address}" for address in MANY),
            "*.wild A 192.0.2.1",
            "odd PTR a\\.b\\032c.one.example.",
            "a.b.c A 192.0.2.2",
            "hop1 CNAME hop2",
            "hop2 CNAME hop3.two.example.",
            "hop4 CNAME hop5.two.example.",
            "out CNAME nowhere.two.example.",
            *(f"n{n} A 192.0.2.{n % 256}" for n in range(300)),
        ]
    ),
    "two.example": "hop3 CNAME hop4.one.example.\nhop5 A 192.0.2.5\nhop5 TXT text\n",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nsd(tmp_path_factory.mktemp("nsd"), ZONES, ["lame.example"], ttl=200, negative_ttl=77) as server:
        yield server


def ask(address: str, name: str, rdtype: str) -> DnsAnswer:
    async def main() -> DnsAnswer:
        return await DnsResolver((address,), 3.0).query(name, rdtype, Deadline.after(5))

    return asyncio.run(main())


def over_tcp() -> float:
    return REGISTRY.get_sample_value("filterd_dns_over_tcp_total") or 0.0


@pytest.mark.parametrize(
    ("name", "text", "connections"), [("small", SMALL, 0), ("medium", MEDIUM, 0), ("large", LARGE, 1)]
)
def test_what_edns_has_room_for_comes_in_a_datagram_and_the_rest_over_tcp(
    address: str, name: str, text: str, connections: int
) -> None:
    before = over_tcp()
    assert ask(address, f"{name}.one.example", "TXT") == DnsAnswer(DnsStatus.NOERROR, (text,), 200)
    assert over_tcp() == before + connections


def test_many_records_come_and_too_many_or_too_large_ones_are_refused(address: str) -> None:
    assert set(ask(address, "many.one.example", "A").records) == set(MANY[:150])
    for name, rdtype in (("too-many.one.example", "A"), ("huge.one.example", "TXT")):
        with pytest.raises(TemporaryError) as caught:
            ask(address, name, rdtype)
        assert caught.value.kind == "broken"


def test_a_chain_through_two_zones(address: str) -> None:
    assert ask(address, "hop1.one.example", "A").records == ("192.0.2.5",)
    assert ask(address, "hop1.one.example", "CNAME").records == ("hop2.one.example",)
    assert ask(address, "hop1.one.example", "MX") == DnsAnswer(DnsStatus.NODATA, (), 77)
    assert ask(address, "out.one.example", "A") == DnsAnswer(DnsStatus.NXDOMAIN, (), 77)


def test_absence_and_what_exists_between(address: str) -> None:
    assert ask(address, "nothing.one.example", "A") == DnsAnswer(DnsStatus.NXDOMAIN, (), 77)
    assert ask(address, "small.one.example", "A") == DnsAnswer(DnsStatus.NODATA, (), 77)
    assert ask(address, "b.c.one.example", "A") == DnsAnswer(DnsStatus.NODATA, (), 77)
    assert ask(address, "ANY-thing.wild.one.example", "A").records == ("192.0.2.1",)


def test_a_dot_inside_a_label_is_not_one_between_labels(address: str) -> None:
    assert ask(address, "odd.one.example", "PTR").records == ("a\\.b\\032c.one.example",)


@pytest.mark.parametrize(("name", "kind"), [("lame.example", "servfail"), ("not-served-here.example", "refused")])
def test_failures(address: str, name: str, kind: str) -> None:
    with pytest.raises(TemporaryError) as caught:
        ask(address, name, "A")
    assert caught.value.kind == kind


def test_rare_types(address: str) -> None:
    assert ask(address, "one.example", "NS").records == ("ns.invalid",)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_hundreds_of_questions_at_once_get_each_its_own_answer(address: str, run: object) -> None:
    async def main() -> None:
        resolver = DnsResolver((address,), 5.0)
        names = [f"n{n}.one.example" for n in range(300)]
        answers = await asyncio.gather(*(resolver.query(name, "A", Deadline.after(10)) for name in names))
        assert [answer.records for answer in answers] == [(f"192.0.2.{n % 256}",) for n in range(300)]

    assert callable(run)
    run(main())


def test_a_server_that_dies_is_left_for_the_other(address: str, tmp_path: Path) -> None:
    async def query(resolver: DnsResolver, name: str) -> tuple[str, ...]:
        return (await resolver.query(name, "A", Deadline.after(5))).records

    async def main() -> None:
        with nsd(tmp_path, {"one.example": "n1 A 192.0.2.99\nn2 A 192.0.2.99\n"}) as first:
            resolver = DnsResolver((first, address), 3.0)
            assert await query(resolver, "n1.one.example") == ("192.0.2.99",)
        assert await query(resolver, "n2.one.example") == ("192.0.2.2",)

    asyncio.run(main())
