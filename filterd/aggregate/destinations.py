"""Owns whether a destination wants the reports of a policy domain.  RFC 9990 section 4.

Without this anybody could have everybody's reports sent to a victim.  Must not know what a report says.
"""

from __future__ import annotations

from filterd.aggregate.published import MAX_DESTINATIONS, confirmation
from filterd.auth.dmarc import evaluate_dmarc
from filterd.auth.names import MAX_DOMAIN, ascii_domain, is_address
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.address import Mailbox
from filterd.ports import Resolver

_MAX_RECORDS = 10  # TXT records of one name that are looked at


async def wanted_at(
    resolver: Resolver, policy_domain: str, destination: Mailbox, deadline: Deadline
) -> tuple[Mailbox, ...]:
    """Where a report about `policy_domain` may go instead of, or as, `destination`; empty: nowhere.

    Raises TemporaryError when DNS does not say now.
    """
    host = ascii_domain(destination.domain)
    if host is None or is_address(host):
        return ()
    if host == policy_domain:
        return (destination,)
    if await _organizational_domain(resolver, host, deadline) == await _organizational_domain(
        resolver, policy_domain, deadline
    ):
        return (destination,)
    name = f"{policy_domain}._report._dmarc.{host}"
    if len(name) > MAX_DOMAIN:
        return ()
    answer = await resolver.query(name, "TXT", deadline)
    confirmed = [found for text in answer.records[:_MAX_RECORDS] if (found := confirmation(text)) is not None]
    instead = [mailbox for found in confirmed for mailbox in found]
    if any(ascii_domain(mailbox.domain) != host for mailbox in instead):
        return ()  # step 9: to neither of them
    if not confirmed:
        return ()
    return tuple(instead[:MAX_DESTINATIONS]) or (destination,)


async def _organizational_domain(resolver: Resolver, domain: str, deadline: Deadline) -> str:
    """By tree walk (RFC 9989 4.10.2): as for a message that nobody authenticates.  Raises TemporaryError."""
    outcome = await evaluate_dmarc(resolver, domain, None, (), deadline)
    if not outcome.organizational_domain:
        raise TemporaryError(outcome.problem or f"the organizational domain of {domain} is not known now")
    return outcome.organizational_domain
