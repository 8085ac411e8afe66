"""What is remembered and for how long, who is asked next, and that every failure keeps its kind."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from prometheus_client import REGISTRY

from filterd.adapters import resolver as module
from filterd.adapters.dns_client import Server
from filterd.adapters.resolver import CACHED_OCTETS, MAX_CACHED_OCTETS, MAX_CHAIN, DnsResolver, _system_servers
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.ports import DnsAnswer, DnsStatus
from tests.support.liar import RIGHT, Liar, answer_to, lying, right, settled


def run(liar: Liar, test: Callable[[Server], Awaitable[None]]) -> None:
    async def main() -> None:
        async with lying(liar) as server:
            await test(server)

    asyncio.run(main())


async def ask(resolver: DnsResolver, name: str = "mx.example.com", rdtype: str = "A") -> DnsAnswer:
    return await resolver.query(name, rdtype, Deadline.after(5))


async def kind_of_failure(resolver: DnsResolver, name: str = "mx.example.com") -> str:
    with pytest.raises(TemporaryError) as caught:
        await ask(resolver, name)
    return caught.value.kind


def with_soa(data: bytes, owner: str, ttl: int, minimum: int, rcode: str = "NXDOMAIN") -> bytes:
    response = dns.message.from_wire(answer_to(data, rcode=rcode))
    soa = f"ns.test. mail.test. 1 2 3 4 {minimum}"
    response.authority.append(dns.rrset.from_text(owner, ttl, "IN", "SOA", soa))
    return response.to_wire()


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("rcode", "kind"), [("SERVFAIL", "servfail"), ("REFUSED", "refused"), ("NOTIMP", "broken"), ("YXDOMAIN", "broken")]
)
def test_codes_keep_their_kind(rcode: str, kind: str) -> None:
    liar = Liar()
    liar.says = lambda data: [answer_to(data, rcode=rcode)]

    async def test(server: Server) -> None:
        assert await kind_of_failure(DnsResolver((str(server),))) == kind

    run(liar, test)


@pytest.mark.parametrize(("rcode", "status"), [("NXDOMAIN", DnsStatus.NXDOMAIN), ("NOERROR", DnsStatus.NODATA)])
def test_absence_keeps_its_kind(rcode: str, status: DnsStatus) -> None:
    liar = Liar()
    liar.says = lambda data: [answer_to(data, rcode=rcode)]

    async def test(server: Server) -> None:
        assert (await ask(DnsResolver((str(server),)))).status is status

    run(liar, test)


def test_silence_and_nobody_there_keep_their_kind() -> None:
    liar = Liar()
    liar.says = lambda data: []

    async def test(server: Server) -> None:
        assert await kind_of_failure(DnsResolver((str(server),), 0.1)) == "timeout"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        assert await kind_of_failure(DnsResolver((f"127.0.0.1:{port}",))) == "unreachable"

    run(liar, test)


def test_names_whose_servers_keep_silent_do_not_keep_others_from_being_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    liar = Liar()
    liar.says = lambda data: [] if b"\x06silent" in data.lower() else [right(data)]
    monkeypatch.setattr(module, "MAX_IN_FLIGHT", 3)

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),), 0.5)
        names = [f"n{number}.silent.example" for number in range(3)]
        silent = [asyncio.create_task(kind_of_failure(resolver, name)) for name in names]
        await settled(lambda: len(liar.seen) == 3)
        assert (await ask(resolver)).records == (RIGHT,)
        assert await silent[0] == "busy"
        assert not silent[1].done()
        again = asyncio.create_task(kind_of_failure(resolver, names[0]))  # one that gave way may be asked again
        assert [await task for task in (*silent[1:], again)] == ["timeout"] * 3
        # all in one moment: whoever gives way before it has begun fails no other way
        kinds = await asyncio.gather(*(kind_of_failure(resolver, f"m{number}.silent.example") for number in range(8)))
        assert kinds == ["busy"] * 5 + ["timeout"] * 3

    run(liar, test)


def test_a_question_that_was_asked_again_is_still_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gave way must not take its successor with it when it ends."""
    liar = Liar()
    liar.says = lambda data: []
    monkeypatch.setattr(module, "MAX_IN_FLIGHT", 1)

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),), 0.3)
        asked = [
            asyncio.create_task(kind_of_failure(resolver, name)) for name in ("a.example", "b.example", "a.example")
        ]
        await settled(lambda: bool(liar.seen))
        asked.append(asyncio.create_task(kind_of_failure(resolver, "a.example")))
        assert [await task for task in asked] == ["busy", "busy", "timeout", "timeout"]
        assert len({data[:2] for data in liar.seen}) == 2  # a lone server that is silent is asked twice, and no more

    run(liar, test)


def test_the_header_alone_is_enough_to_refuse() -> None:
    liar = Liar()
    liar.says = lambda data: [data[:2] + struct.pack("!BBHHHH", 0x81, 0x85, 0, 0, 0, 0)]

    async def test(server: Server) -> None:
        assert await kind_of_failure(DnsResolver((str(server),))) == "refused"

    run(liar, test)


def test_a_server_that_does_not_resolve_says_nothing_about_a_name() -> None:
    liar = Liar()

    def says(data: bytes) -> list[bytes]:
        response = dns.message.from_wire(answer_to(data))
        response.authority.append(dns.rrset.from_text("com.", 60, "IN", "NS", "ns.example."))
        return [response.to_wire()]

    liar.says = says

    async def test(server: Server) -> None:
        with pytest.raises(TemporaryError, match="does not resolve") as caught:
            await ask(DnsResolver((str(server),)))
        assert caught.value.kind == "broken"

    run(liar, test)


def test_the_ad_bit_is_handed_on() -> None:
    liar = Liar()
    liar.says = lambda data: [answer_to(data, RIGHT, flags=0x20)]

    async def test(server: Server) -> None:
        assert (await ask(DnsResolver((str(server),)))).authentic

    run(liar, test)


@pytest.mark.parametrize(("of_the_alias", "of_the_end"), [(True, True), (True, False), (False, True)])
def test_a_chain_is_worth_its_weakest_link(of_the_alias: bool, of_the_end: bool) -> None:
    liar = Liar()

    def says(data: bytes) -> list[bytes]:
        if b"alias" not in data.lower():
            return [answer_to(data, RIGHT, flags=0x20 * of_the_end)]
        response = dns.message.from_wire(answer_to(data, flags=0x20 * of_the_alias))
        response.answer.append(dns.rrset.from_text("alias.example.com.", 60, "IN", "CNAME", "mx.example.com."))
        return [response.to_wire()]

    liar.says = says

    async def test(server: Server) -> None:
        answer = await ask(DnsResolver((str(server),)), "alias.example.com")
        assert (answer.records, answer.authentic) == ((RIGHT,), of_the_alias and of_the_end)

    run(liar, test)


def to_the_next(data: bytes, ttl: int = 60) -> bytes:
    """A CNAME from n1.example.com to n2.example.com and so on, of a server that does not follow it."""
    response = dns.message.from_wire(answer_to(data))
    owner = response.question[0].name
    number = int(owner.to_text().lower()[1:].partition(".")[0])
    response.answer.append(dns.rrset.from_text(owner, ttl, "IN", "CNAME", f"n{number + 1}.example.com."))
    return response.to_wire()


def test_a_chain_is_kept_no_longer_than_its_shortest_link() -> None:
    liar = Liar()
    liar.says = lambda data: (
        [to_the_next(data, 20 if len(liar.seen) == 1 else 90)] if len(liar.seen) < 3 else [right(data)]
    )

    async def test(server: Server) -> None:
        assert await ask(DnsResolver((str(server),)), "n1.example.com") == DnsAnswer(DnsStatus.NOERROR, (RIGHT,), 20)

    run(liar, test)


def test_a_chain_without_end_costs_eight_questions() -> None:
    liar = Liar()
    liar.says = lambda data: [to_the_next(data)]

    async def test(server: Server) -> None:
        assert (await ask(DnsResolver((str(server),)), "n1.example.com")).status is DnsStatus.NODATA
        assert len(liar.seen) == MAX_CHAIN

    run(liar, test)


@pytest.mark.parametrize("alias", [False, True])
def test_what_is_final_is_not_asked_again(alias: bool) -> None:
    liar = Liar()

    def says(data: bytes) -> list[bytes]:
        if not alias:
            return [answer_to(data)]  # no records, nobody says for how long
        response = dns.message.from_wire(to_the_next(data))
        response.authority.append(
            dns.rrset.from_text("example.com.", 60, "IN", "SOA", "ns.test. mail.test. 1 2 3 4 60")
        )
        return [response.to_wire()]

    liar.says = says

    async def test(server: Server) -> None:
        assert (await ask(DnsResolver((str(server),)), "n1.example.com")).status is DnsStatus.NODATA
        assert len(liar.seen) == 1

    run(liar, test)


# ---------------------------------------------------------------- cache


@pytest.mark.parametrize(
    ("ttl", "minimum", "expected"), [(300, 60, 60), (60, 300, 60), (86400, 86400, 900), (0, 300, 0), (300, 0, 0)]
)
@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
def test_absence_is_kept_for_the_smaller_of_both_times(rcode: str, ttl: int, minimum: int, expected: int) -> None:
    now = [0.0]
    liar = Liar()
    liar.says = lambda data: [with_soa(data, "example.com.", ttl, minimum, rcode)]

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),), clock=lambda: now[0])
        assert (await ask(resolver)).ttl == expected
        now[0] = expected - 0.5
        await ask(resolver)
        assert len(liar.seen) == (1 if expected else 2)
        now[0] = expected
        await ask(resolver)
        assert len(liar.seen) == (2 if expected else 3)

    run(liar, test)


@pytest.mark.parametrize("owner", [None, "example.net.", "sub.mx.example.com."])
def test_absence_of_which_nobody_says_how_long_is_not_kept(owner: str | None) -> None:
    liar = Liar()
    liar.says = lambda data: [with_soa(data, owner, 300, 300) if owner else answer_to(data, rcode="NXDOMAIN")]

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),))
        for _ in range(2):
            assert await ask(resolver) == DnsAnswer(DnsStatus.NXDOMAIN)
        assert len(liar.seen) == 2

    run(liar, test)


def txt(data: bytes, size: int) -> bytes:
    response = dns.message.from_wire(answer_to(data))
    pieces = " ".join(["x" * 250] * (size // 250))
    response.answer.append(dns.rrset.from_text(dns.message.from_wire(data).question[0].name, 60, "IN", "TXT", pieces))
    return response.to_wire(max_size=65535)


def test_the_cache_is_bounded_in_octets() -> None:
    entries = 20
    liar = Liar()
    liar.says = lambda data: [txt(data, 1000)]
    fit = entries * CACHED_OCTETS // (1000 + len("n00.example.com"))
    assert fit < entries

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),), cache_entries=entries)
        for _ in range(2):  # in the second round all are found
            for number in range(fit):
                await ask(resolver, f"n{number:02}.example.com", "TXT")
        assert len(liar.seen) == fit
        await ask(resolver, "n99.example.com", "TXT")
        await ask(resolver, f"n{fit - 1:02}.example.com", "TXT")
        assert len(liar.seen) == fit + 1
        await ask(resolver, "n00.example.com", "TXT")  # the one that was used longest ago
        assert len(liar.seen) == fit + 2

    run(liar, test)


def test_a_large_answer_is_given_and_not_kept() -> None:
    liar = Liar()
    liar.says = lambda data: [answer_to(data, flags=0x0200)]
    liar.over_tcp = lambda data: (
        (message := txt(data, MAX_CACHED_OCTETS + 250)) and len(message).to_bytes(2) + message,
        True,
    )

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),))
        for _ in range(2):
            (record,) = (await ask(resolver, rdtype="TXT")).records
            assert len(record) > MAX_CACHED_OCTETS
        assert len(liar.seen) == 2

    run(liar, test)


def test_a_name_that_only_looks_like_ascii_in_lower_case_is_not_asked() -> None:
    liar = Liar()

    async def test(server: Server) -> None:
        answer = await ask(DnsResolver((str(server),)), "\u212a.example.com")  # KELVIN SIGN
        assert answer.status is DnsStatus.NXDOMAIN
        assert liar.seen == []

    run(liar, test)


# ---------------------------------------------------------------- which server


def test_a_server_that_said_no_is_not_asked_again_and_the_next_one_is() -> None:
    refusing, good = Liar(), Liar()
    refusing.says = lambda data: [answer_to(data, rcode="REFUSED")]

    async def main() -> None:
        async with lying(refusing) as first, lying(good) as second:
            resolver = DnsResolver((str(first), str(second)))
            assert (await ask(resolver)).records == (RIGHT,)
            await ask(resolver, "other.example.com")
            assert (len(refusing.seen), len(good.seen)) == (1, 2)
            good.says = refusing.says
            assert await kind_of_failure(resolver, "third.example.com") == "refused"
            assert (len(refusing.seen), len(good.seen)) == (2, 3)

    asyncio.run(main())


def test_a_lone_server_that_lost_a_datagram_is_asked_twice() -> None:
    liar = Liar()
    liar.says = lambda data: [right(data)] if len(liar.seen) == 2 else []

    async def test(server: Server) -> None:
        assert (await ask(DnsResolver((str(server),), 1.0))).records == (RIGHT,)

    run(liar, test)


def test_the_time_for_one_question_is_that_of_its_whole_chain() -> None:
    liar = Liar()

    def says(data: bytes) -> list[bytes]:
        if len(liar.seen) > 1:
            return []
        response = dns.message.from_wire(answer_to(data))
        response.answer.append(dns.rrset.from_text("mx.example.com.", 60, "IN", "CNAME", "elsewhere.example.com."))
        return [response.to_wire()]

    liar.says = says

    async def test(server: Server) -> None:
        started = asyncio.get_running_loop().time()
        assert await kind_of_failure(DnsResolver((str(server),) * 4, 0.2)) == "timeout"
        assert asyncio.get_running_loop().time() - started < 2

    run(liar, test)


def test_closing_ends_what_is_under_way() -> None:
    liar = Liar()
    liar.says = lambda data: []

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),))
        waiting = asyncio.create_task(ask(resolver))
        await settled(lambda: bool(liar.seen))
        await resolver.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(liar, test)


def test_over_ipv6() -> None:
    async def main() -> None:
        liar = Liar()
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: liar, local_addr=("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        port = liar.transport.get_extra_info("sockname")[1]
        assert (await ask(DnsResolver((f"[::1]:{port}",)))).records == (RIGHT,)
        liar.transport.close()

    asyncio.run(main())


# ---------------------------------------------------------------- rare types


def test_rare_types_take_the_same_way() -> None:
    liar = Liar()

    def says(data: bytes) -> list[bytes]:
        query = dns.message.from_wire(data)
        if query.question[0].rdtype != dns.rdatatype.NS:
            return [with_soa(data, "com.", 60, 60, "NOERROR")]
        response = dns.message.from_wire(answer_to(data, flags=0x20))
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "NS", "ns.example."))
        return [response.to_wire()]

    liar.says = says

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),))
        for _ in range(2):
            assert await ask(resolver, "example.com", "NS") == DnsAnswer(DnsStatus.NOERROR, ("ns.example",), 60, True)
            assert (await ask(resolver, "example.com", "SRV")).status is DnsStatus.NODATA
        assert len(liar.seen) == 2
        with pytest.raises(TemporaryError, match="no type"):
            await ask(resolver, "example.com", "NO-SUCH")

    run(liar, test)


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        (lambda data: [answer_to(data, rcode="SERVFAIL")], "servfail"),
        (lambda data: [answer_to(data, rcode="REFUSED")], "refused"),
        (lambda data: [], "timeout"),
    ],
)
def test_rare_types_keep_the_kinds(says: Callable[[bytes], list[bytes]], kind: str) -> None:
    liar = Liar()
    liar.says = says

    async def test(server: Server) -> None:
        with pytest.raises(TemporaryError) as caught:
            await ask(DnsResolver((str(server),), 0.2), "example.com", "NS")
        assert caught.value.kind == kind

    run(liar, test)


# ---------------------------------------------------------------- metrics


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_look_ups_are_counted_by_zone_and_names_of_attackers_are_no_labels() -> None:
    liar = Liar()
    liar.says = lambda data: [answer_to(data, rcode="REFUSED")] if b"\x06refuse" in data.lower() else [right(data)]
    names = {
        "2.0.0.127.bl.count.example": "bl.count.example",
        "2.0.192.in-addr.arpa": "in-addr.arpa",
        "8.b.d.0.1.0.0.2.ip6.arpa": "ip6.arpa",
        "s1._domainkey.example.com": "_domainkey",
        "_dmarc.example.com": "_dmarc",
        "xbl.count.example": "other",
        "attacker-chosen.example": "other",
    }

    async def test(server: Server) -> None:
        resolver = DnsResolver((str(server),), zones=("BL.count.example",))
        for name, zone in names.items():
            before = [
                sample(f"filterd_dns_{metric}", zone=zone)
                for metric in ("lookups_total", "cache_hits_total", "seconds_count")
            ]
            await ask(resolver, name)
            await ask(resolver, name)
            after = [
                sample(f"filterd_dns_{metric}", zone=zone)
                for metric in ("lookups_total", "cache_hits_total", "seconds_count")
            ]
            assert [b - a for a, b in zip(before, after, strict=True)] == [2, 1, 1]
        failures = sample("filterd_dns_failures_total", zone="_dmarc", kind="refused")
        assert await kind_of_failure(resolver, "_dmarc.refuse.example") == "refused"
        assert sample("filterd_dns_failures_total", zone="_dmarc", kind="refused") == failures + 1

    run(liar, test)
    zones = {s.labels["zone"] for family in REGISTRY.collect() for s in family.samples if "filterd_dns_look" in s.name}
    assert not any("attacker" in zone for zone in zones)


# ---------------------------------------------------------------- resolv.conf


def test_the_servers_of_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# comment\nsearch example.com\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver nonsense\n"
    )
    assert _system_servers(path) == ("192.0.2.53", "[fe80::1]")
    assert _system_servers(tmp_path / "missing") == ("127.0.0.1",)
