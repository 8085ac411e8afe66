"""The sandbox's DNS tells the samples' clients apart, by SPF and by the block list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import dns.message
import dns.query
import dns.rcode
import pytest

from filterd.adapters.resolver import DnsResolver
from filterd.auth.spf import check_spf
from filterd.checks.base import CheckContext
from filterd.checks.rdns import Rdns
from filterd.config import DnsblConfig
from filterd.deadline import Deadline
from filterd.dnslist.protocol import find_problem, query_name
from filterd.mail.envelope import Connection, parse_ip
from filterd.mail.evidence import Reason
from sandbox import world
from sandbox.dns import SandboxDns
from sandbox.samples import make_samples
from sandbox.signing import DkimKey

KEY = DkimKey("example.org")
SAMPLES = {sample.name: sample for sample in make_samples(KEY)}


def with_resolver(question: Callable[[DnsResolver], Coroutine[None, None, Any]]) -> Any:
    """What `question` gives with a resolver that asks the sandbox."""

    async def run() -> Any:
        async with SandboxDns(world.make_zones(KEY)) as server:
            resolver = DnsResolver((f"{server.host}:{server.port}",))
            try:
                return await question(resolver)
            finally:
                await resolver.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "result"),
    [("good mail, signed", "pass"), ("listed client", "pass"), ("spam", "softfail"), ("forged author", "fail")],
)
def test_spf_of_the_samples(name: str, result: str) -> None:
    sample = SAMPLES[name]
    client = parse_ip(sample.client)
    found = with_resolver(lambda r: check_spf(r, client, sample.mail_from, sample.helo, Deadline.after(10)))
    assert found.result.value == result


@pytest.mark.parametrize("client", sorted({sample.client for sample in SAMPLES.values()} | {world.LOCAL}))
def test_every_client_has_a_confirmed_name(client: str) -> None:
    """A missing one would weigh, and a sample would not show any more what it stands for."""
    ctx = CheckContext(Connection(parse_ip(client)), Deadline.after(10))
    (found,) = with_resolver(lambda resolver: Rdns(resolver)(ctx))
    assert found.reason is Reason.OK, found.log_text


def test_the_block_list_is_healthy() -> None:
    zone = DnsblConfig(zone=world.DNSBL)
    assert with_resolver(lambda resolver: find_problem(zone, resolver, Deadline.after(10))) is None


@pytest.mark.parametrize(
    ("client", "listed"),
    # RFC 5782 section 5: the test entries that every zone has
    [("127.0.0.2", True), ("127.0.0.1", False), (world.LISTED, True), (world.PARTNER, False), (world.FORGER, False)],
)
def test_the_block_list(client: str, *, listed: bool) -> None:
    query = dns.message.make_query(query_name(parse_ip(client), world.DNSBL), "A")
    answer = SandboxDns(world.make_zones(KEY)).answer(query.to_wire(), over_tcp=False)
    assert answer is not None
    message = dns.message.from_wire(answer)
    assert (message.rcode() == dns.rcode.NOERROR) is listed
    assert [record.to_text() for rrset in message.answer for record in rrset] == (["127.0.0.2"] if listed else [])
