"""Owns the look at what DNS says about our own domains, and about the key of our seal.  RFC 7208, RFC 9989, RFC 6376 3.6.

Must not know how mail is judged by it.
"""

from __future__ import annotations

import asyncio

from filterd.adapters.directory import known_domains
from filterd.adapters.resolver import DnsResolver
from filterd.adapters.signing_key import seal_signer
from filterd.auth.dkim_key import UnusableKeyError, WeakKeyError, parse_key
from filterd.auth.dmarc import evaluate_dmarc
from filterd.auth.seal import Signer
from filterd.config import Config
from filterd.deadline import Deadline
from filterd.directory.values import DomainType
from filterd.doctor.finding import Finding, fail, ok, warn
from filterd.errors import ConfigError, TemporaryError
from filterd.mail.evidence import Result
from filterd.ports import Resolver

MAX_DOMAINS = 20  # whoever has more sees the first ones


async def senders(config: Config, deadline: Deadline) -> list[Finding]:
    """Each accepted domain, then the seal."""
    resolver = DnsResolver(config.dns.servers, config.dns.timeout_seconds, 0)
    accepted = await asyncio.to_thread(known_domains, config)
    names = dict.fromkeys(item.name for item in accepted.all if item.type is not DomainType.EXTERNAL_RELAY)
    try:
        looks = [domain_finding(name, resolver, deadline) for name in list(names)[:MAX_DOMAINS]]
        found = list(await asyncio.gather(*looks))
        try:
            signer = seal_signer(config)
        except ConfigError:  # a finding about the configuration says which file it is
            found.append(
                fail("seal", "the key cannot be used", "after the next start mail is not sealed; docs/dkim-arc.md")
            )
        else:
            if signer is not None:
                found.append(await seal_finding(signer, resolver, deadline))
    finally:
        await resolver.close()
    return found


async def domain_finding(name: str, resolver: Resolver, deadline: Deadline) -> Finding:
    """Whether mail in this domain's name can be told from forgeries."""
    what = f"domain {name}"
    try:
        answer = await resolver.query(name, "TXT", deadline)
    except TemporaryError as error:
        return warn(what, f"cannot be asked about: {error}", "ask again")
    has_spf = any(text.lower().split(" ")[0] == "v=spf1" for text in answer.records)
    policy = await evaluate_dmarc(resolver, name, None, (), deadline)
    if policy.result is Result.TEMPERROR:
        return warn(what, f"cannot be asked about: {policy.problem}", "ask again")
    shown = f"SPF {'yes' if has_spf else 'no'}, DMARC {f'p={policy.policy}' if policy.record_domain else 'no'}"
    if policy.result is Result.PERMERROR:
        return warn(what, f"{shown}: {policy.problem}", f"correct the record at _dmarc.{policy.record_domain}")
    if has_spf and policy.record_domain:
        return ok(what, shown)
    missing = "an SPF record (v=spf1 … -all)" if not has_spf else "a DMARC record (_dmarc: v=DMARC1; p=quarantine)"
    text = f"{shown}: forgers may use it, and honest mail in its name from outside proves less"
    return warn(
        what, text, f"publish {missing}; policy.own_domain says what becomes of mail from outside that claims it"
    )


async def seal_finding(signer: Signer, resolver: Resolver, deadline: Deadline) -> Finding:
    """Whether others find the public key of our seal."""
    name = f"{signer.selector}._domainkey.{signer.domain}"
    try:
        answer = await resolver.query(name, "TXT", deadline)
    except TemporaryError as error:
        return warn("seal", f"{name} cannot be asked for: {error}", "ask again")
    if not answer.records:
        return fail("seal", f"{name} has no key record: all that we seal is broken", "publish it; docs/dkim-arc.md")
    try:
        published = [parse_key(record).key for record in answer.records]
    except (UnusableKeyError, WeakKeyError) as error:
        return fail("seal", f"the record at {name} cannot be used: {error}", "correct it; docs/dkim-arc.md")
    if signer.key.public_key() not in published:
        return fail(
            "seal", f"the record at {name} is not that of arc.key_file", "publish its public key; docs/dkim-arc.md"
        )
    return ok("seal", f"{name} has the key of arc.key_file")
