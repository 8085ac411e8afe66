"""The DNS server answers what its zones say, says at once when a name does not exist, and fails where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from sandbox.dns import SandboxDns, parse_zones

LONG = " ".join(f'"{"x" * 250}"' for _ in range(20))
ZONES = {
    "example.org": f"""
        @    IN TXT "v=spf1 -all"
        mail IN A 127.0.0.10
        www  IN CNAME web.example.com.
        long IN TXT {LONG}
        a.b  IN A 127.0.0.1
        self IN CNAME self
    """,
    "example.com": "web IN A 127.0.0.11",
}


def ask(name: str, rdtype: str, *, tcp: bool = False, edns: bool = True, **failures: str) -> dns.message.Message:
    """The answer of a fresh server."""

    def client(server: SandboxDns) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, use_edns=edns)
        send: Callable[..., dns.message.Message] = dns.query.tcp if tcp else dns.query.udp
        return send(query, server.host, timeout=2 if failures.get("fail") != "drop" else 0.2, port=server.port)

    async def run() -> dns.message.Message:
        async with SandboxDns(ZONES) as server:
            if "fail" in failures:
                server.failures[name.lower()] = failures["fail"]  # type: ignore[assignment]  # a Literal, from a test table
            return await asyncio.to_thread(client, server)

    return asyncio.run(run())


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "rdtype", "records"),
    [
        ("mail.example.org", "A", ["127.0.0.10"]),
        ("MAIL.Example.ORG", "A", ["127.0.0.10"]),
        ("example.org", "TXT", ['"v=spf1 -all"']),
        ("www.example.org", "A", ["web.example.com.", "127.0.0.11"]),
    ],
)
def test_what_the_zones_say_is_answered(name: str, rdtype: str, records: list[str], *, tcp: bool) -> None:
    answer = ask(name, rdtype, tcp=tcp)
    assert answer.rcode() == dns.rcode.NOERROR
    assert [record.to_text() for rrset in answer.answer for record in rrset] == records


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        ("nothing.example.org", "A", dns.rcode.NXDOMAIN),
        ("elsewhere.test", "A", dns.rcode.NXDOMAIN),
        ("mail.example.org", "AAAA", dns.rcode.NOERROR),  # the name is there, the type is not
        ("b.example.org", "A", dns.rcode.NOERROR),  # RFC 8020: an empty non-terminal exists
        ("self.example.org", "A", dns.rcode.SERVFAIL),
    ],
)
def test_what_is_not_there(name: str, rdtype: str, rcode: int) -> None:
    answer = ask(name, rdtype)
    assert answer.rcode() == rcode
    assert not [record for rrset in answer.answer for record in rrset if record.rdtype != dns.rdatatype.CNAME]


@pytest.mark.parametrize("edns", [False, True])
def test_an_answer_too_long_for_udp_is_whole_over_tcp(*, edns: bool) -> None:
    short = ask("long.example.org", "TXT", edns=edns)
    assert short.flags & dns.flags.TC
    assert not short.answer
    assert len(ask("long.example.org", "TXT", tcp=True).answer[0][0].to_text()) == len(LONG)


@pytest.mark.parametrize(("failure", "rcode"), [("servfail", dns.rcode.SERVFAIL), ("refused", dns.rcode.REFUSED)])
def test_a_name_can_be_made_to_fail(failure: str, rcode: int) -> None:
    assert ask("mail.example.org", "A", fail=failure).rcode() == rcode


def test_a_name_can_be_made_silent() -> None:
    with pytest.raises(dns.exception.Timeout):
        ask("mail.example.org", "A", fail="drop")


def test_questions_are_kept_and_zones_can_change() -> None:
    async def run() -> list[tuple[str, str]]:
        async with SandboxDns(ZONES) as server:
            server.set_zone("new.example", "@ IN A 127.0.0.9")
            query = dns.message.make_query("new.example", "A")
            answer = await asyncio.to_thread(dns.query.udp, query, server.host, 2, server.port)
            assert answer.answer[0][0].to_text() == "127.0.0.9"
            return list(server.questions)

    assert asyncio.run(run()) == [("new.example", "A")]


def test_rubbish_is_not_answered() -> None:
    server = SandboxDns(ZONES)
    assert server.answer(b"", over_tcp=False) is None
    assert server.answer(b"\xff" * 40, over_tcp=False) is None


def test_a_bad_zone_is_named() -> None:
    with pytest.raises(ValueError, match=r"zone example\.org"):
        parse_zones({"example.org": "@ IN A not-an-address"})
