"""Owns questions of rare types (NS, TLSA …), asked with dnspython; the only file of the product that imports it.

Must not know other servers, the cache, nor what an answer means.
"""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from filterd.adapters.dns_client import Server
from filterd.errors import TemporaryError
from filterd.wire.dns_answer import Answer
from filterd.wire.dns_query import PAYLOAD


async def ask_rare(server: Server, name: bytes, rdtype: str, until: float) -> Answer:
    """As dns_client.ask, for any type; records are in the form of zone files, NS without final dot.  Raises TemporaryError."""
    asked, _ = dns.name.from_wire(name, 0)
    try:
        message = dns.message.make_query(asked, rdtype, use_edns=0, payload=PAYLOAD)
    except dns.exception.DNSException:
        raise TemporaryError(f"{rdtype[:20]!r} is no type of DNS", "broken") from None
    message.flags |= dns.flags.AD  # RFC 6840 5.7: tell us whether DNSSEC holds
    try:
        async with asyncio.timeout_at(until):
            response, _ = await dns.asyncquery.udp_with_fallback(
                message, server.address, None, server.port, ignore_unexpected=True, ignore_errors=True
            )
        rcode = response.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) or not isinstance(response, dns.message.QueryMessage):
            return Answer(int(rcode))
        chain = response.resolve_chaining()
    except TimeoutError:
        raise TemporaryError(f"{server} does not answer", "timeout") from None
    except dns.message.ChainTooLong:
        return Answer(0, endless=True)
    except dns.exception.DNSException as error:
        raise TemporaryError(f"{server} answers nonsense: {error}", "broken") from None
    except (OSError, EOFError) as error:
        raise TemporaryError(f"{server} cannot be reached: {error}", "unreachable") from None
    records = tuple(
        rdata.target.to_text(omit_final_dot=True) if rdata.rdtype == dns.rdatatype.NS else rdata.to_text()
        for rdata in chain.answer or ()
    )
    soa = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    return Answer(
        rcode=int(rcode),
        authentic=bool(response.flags & dns.flags.AD),
        records=records,
        ttl=int(chain.minimum_ttl),
        end=chain.canonical_name.canonicalize().to_wire() or b"\0",
        aliases=len(chain.cnames),
        negative_ttl=int(chain.minimum_ttl) if soa and not records else None,
    )
