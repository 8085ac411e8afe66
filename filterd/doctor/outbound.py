"""Owns the look at what outbound mail needs: the next mail server, and the published records of our keys.  RFC 6376 3.6.

Must not know how mail is signed.
"""

from __future__ import annotations

import asyncio
import re

from filterd.adapters.resolver import DnsResolver
from filterd.adapters.signing_key import outbound_keys
from filterd.adapters.upstream_link import LinkLostError, LinkRefusedError, open_link
from filterd.adapters.upstream_tls import client_context
from filterd.auth.dkim_key import UnusableKeyError, WeakKeyError, key_record, parse_key
from filterd.auth.seal import Signer
from filterd.config import Config
from filterd.deadline import Deadline
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.errors import TemporaryError
from filterd.outbound import next_server
from filterd.ports import Resolver

MAX_KEYS = 20  # whoever has more sees the first ones
_PAGE = "docs/outbound.md"
_SIZE = re.compile(r"[0-9]{1,15}")


async def look(config: Config, deadline: Deadline) -> list[Finding]:
    """The next mail server, then each key; nothing where no outbound mail is taken."""
    if not config.outbound.host:
        return []
    keys = outbound_keys(config)
    resolver = DnsResolver(config.dns.servers, config.dns.timeout_seconds, 0)
    try:
        looks = [key_finding(signer, resolver, deadline) for signer in keys.signers[:MAX_KEYS]]
        found = list(await asyncio.gather(server_finding(config, deadline), *looks))
    finally:
        await resolver.close()
    if keys.unsignable:
        means = (
            f"after the next start mail of {', '.join(sorted(keys.unsignable))} is deferred until the file is repaired"
        )
    else:
        means = "after the next start mail is signed without this key"
    found += [
        fail("outbound.dkim", problem, f"repair it, so that the user of the service can read it; {means}; {_PAGE}")
        for problem in keys.problems
    ]
    if not config.outbound.dkim:
        remedy = "filterd exchange dkim DOMAIN makes a key"
        found.append(warn("outbound.dkim", "there is no key: outbound mail is not signed", remedy))
    return found


async def server_finding(config: Config, deadline: Deadline) -> Finding:
    """Whether the next mail server answers, and what it lacks."""
    what = f"outbound {config.outbound.host}:{config.outbound.port}"
    server = next_server(config.outbound)
    try:
        hostname = config.outbound.helo or config.server.hostname
        link = await open_link(server, hostname, client_context(server), deadline)
    except (LinkLostError, LinkRefusedError, OSError) as error:
        said = f"it refuses us: {error.reply}" if isinstance(error, LinkRefusedError) else str(error)
        remedy = "outbound mail gets 451 4.4.1 and waits at Exchange: is the server running, and does it relay for us?"
        return fail(what, said, remedy)
    extensions = dict(link.extensions)
    link.quit()
    size, most = (
        extensions.get("SIZE", ""),
        max((config.limits_of(one).message_bytes for one in config.listeners if one.trust == "outbound"), default=0),
    )
    if _SIZE.fullmatch(size) and 0 < int(size) < most:
        return warn(
            what, f"it takes {size} octets, limits.message_bytes is {most}", "larger mail is refused to Exchange"
        )
    lacking = [name for name in ("8BITMIME", "DSN", "SMTPUTF8") if name not in extensions]
    return ok(
        what, "it answers" + (f"; it does not offer {', '.join(lacking)}, so we do not either" if lacking else "")
    )


async def key_finding(signer: Signer, resolver: Resolver, deadline: Deadline) -> Finding:
    """Whether the world finds the public key of ours, and the same one."""
    name = f"{signer.selector}._domainkey.{signer.domain}"
    what = f"key {name}"
    publish = f"publish: {name}. IN TXT {key_record(signer.key.public_key())}"
    try:
        answer = await resolver.query(name, "TXT", deadline)
    except TemporaryError as error:
        return warn(what, f"cannot be asked for: {error}", "ask again")
    if not answer.records:
        return fail(what, "has no record: signatures with this key fail", publish)
    if len(answer.records) > 1:
        return fail(what, f"has {len(answer.records)} records, of which verifiers take any one", "leave one")
    try:
        published = parse_key(answer.records[0])
    except (UnusableKeyError, WeakKeyError) as error:
        return fail(what, f"its record cannot be used: {error}", publish)
    if signer.key.public_key() != published.key:
        return fail(what, "its record is of another key: signatures fail", publish)
    if published.testing:
        return warn(
            what, "its record says t=y: verifiers treat the mail as unsigned", f"remove t=y when it works; {_PAGE}"
        )
    return ok(what, f"its record has our {published.kind} key")
