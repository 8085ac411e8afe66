"""The sandbox's DNS tells the samples' clients apart, by SPF and by the block list."""

from __future__ import annotations

import asyncio

import dns.message
import dns.query
import dns.rcode
import pytest

from filterd.adapters.resolver import DnsResolver
from filterd.auth.spf import check_spf
from filterd.deadline import Deadline
from filterd.dnslist.protocol import query_name
from filterd.mail.envelope import parse_ip
from sandbox import world
from sandbox.dns import SandboxDns
from sandbox.samples import Sample, make_samples
from sandbox.signing import DkimKey

KEY = DkimKey("example.org")
SAMPLES = {sample.name: sample for sample in make_samples(KEY)}


@pytest.mark.parametrize(
    ("name", "result"),
    [("good mail, signed", "pass"), ("listed client", "pass"), ("spam", "softfail"), ("forged author", "fail")],
)
def test_spf_of_the_samples(name: str, result: str) -> None:
    async def run(sample: Sample) -> str:
        async with SandboxDns(world.make_zones(KEY)) as server:
            resolver = DnsResolver((f"{server.host}:{server.port}",))
            deadline = Deadline.after(10)
            found = await check_spf(resolver, parse_ip(sample.client), sample.mail_from, sample.helo, deadline)
            await resolver.close()
            return found.result.value

    assert asyncio.run(run(SAMPLES[name])) == result


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
