"""Owns how a domain is found among the accepted ones: by its own name, then by one above it that takes its subdomains.

Facts: Exchange's accepted domains and MatchSubDomains (Set-AcceptedDomain).  Must not know where accepted domains come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from filterd.auth.names import ascii_domain
from filterd.content.host import u_label
from filterd.directory.keys import lower_case
from filterd.directory.values import AcceptedDomain, DomainType
from filterd.mail.address import parse_mailbox

_PAIR = re.compile(r"\\(.)")  # quoted-pairSMTP
_NEEDED, _BACKSLASH = re.compile(r'["\\]'), r"\\\g<0>"  # what stands in quotes as a quoted-pair only


class AcceptedDomains:
    """The accepted domains of several sources as one; of two with the same name the type of the first counts.

    Another one with the same name may only add its subdomains: with the type of the first where that one is `fixed` (it stands
    in the configuration), else with its own (Exchange: contoso.com and *.contoso.com are two domains).  But where a directory
    says that recipients are elsewhere (a relay), nobody is looked up, though the configuration just names the domain.
    """

    def __init__(self, fixed: Iterable[AcceptedDomain] = (), others: Iterable[AcceptedDomain] = ()) -> None:
        self._by_name: dict[str, AcceptedDomain] = {}
        self._above: dict[str, AcceptedDomain] = {}
        said = tuple(others)
        own: dict[str, DomainType] = {}
        for one in sorted(said, key=lambda item: item.subdomains):
            own.setdefault(one.name, one.type)
        first = tuple(replace(one, type=_type(one.type, own.get(one.name, one.type))) for one in fixed)
        types = {domain.name: domain.type for domain in reversed(first)}
        learned = [replace(one, type=_type(types.get(one.name, one.type), one.type)) for one in said]
        # Of *.contoso.com and contoso.com the one without a star says what contoso.com is.
        for domain in (*first, *sorted(learned, key=lambda item: item.subdomains)):
            for form in {domain.name, ascii_domain(domain.name) or domain.name}:
                self._by_name.setdefault(form, domain)
                if domain.subdomains:
                    self._above.setdefault(form, domain)
        counting = {*self._by_name.values(), *self._above.values()}
        self.all = tuple(dict.fromkeys(domain for domain in (*first, *learned) if domain in counting))

    def find(self, domain: str) -> AcceptedDomain | None:
        """The accepted domain that `domain` (Mailbox.domain_key) is, or belongs to; None when no mail is taken for it."""
        found = self._by_name.get(domain)
        if found is None and not domain.isascii():  # directories have A-labels, senders with SMTPUTF8 what they see
            domain = ascii_domain(domain) or domain
            found = self._by_name.get(domain)
        if found is not None or not self._above:
            return found
        above = domain
        while "." in above:
            above = above.partition(".")[2]
            if above in self._above:
                return self._above[above]
        return None

    def is_ours(self, domain: str) -> bool:
        """Whether mail is taken for it, and it is no other owner's (external relay)."""
        found = self.find(domain)
        return found is not None and found.type is not DomainType.EXTERNAL_RELAY

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._by_name)


def _type(here: DomainType, there: DomainType) -> DomainType:
    """The type of a domain that the configuration calls `here`, a directory `there`."""
    if here is DomainType.AUTHORITATIVE and there is not here:
        return DomainType.INTERNAL_RELAY  # ours, as the configuration says, and not looked up, as the directory says
    return here


def own_domains(domains: Iterable[AcceptedDomain]) -> frozenset[str]:
    """Names of those that are ours, as checks compare them; what lies below them is ours as well."""
    names = (ascii_domain(domain.name) for domain in domains if domain.type is not DomainType.EXTERNAL_RELAY)
    return frozenset(name for name in names if name)


def postmasters(names: Iterable[str | None], accepted: Iterable[AcceptedDomain]) -> dict[str, str]:
    """Whose postmaster is that of our own `names`: of those that we take no other mail for, the first accepted domain's."""
    domains = [domain.name for domain in accepted if domain.type is not DomainType.EXTERNAL_RELAY]
    return {name: domains[0] for name in names if domains and name and name not in domains}


def plain_local(local: str) -> str:
    """A local-part as directories have it: `"anna"` is anna (RFC 5321 4.1.2); one that needs its quotes keeps them, with no
    backslash more than it needs."""
    if len(local) < 2 or local[0] != '"' or local[-1] != '"':
        return local
    inner = _PAIR.sub(r"\1", local[1:-1])
    if not inner.startswith('"') and parse_mailbox(f"{inner}@x") is not None:
        return inner
    return f'"{_NEEDED.sub(_BACKSLASH, inner)}"'


def address_form(local: str, domain: str) -> str:
    """An address as lists of recipients have it: in lower case, the domain in A-labels where it has that form."""
    return lower_case(f"{plain_local(local)}@{ascii_domain(domain) or domain}")


def address_forms(local: str, domain: str) -> tuple[str, ...]:
    """The forms in which a list may have an address: the domain in A-labels, as it stands, in letters of its own."""
    forms = [address_form(local, domain)]
    if not domain.isascii():
        forms.append(lower_case(f"{local}@{domain}"))
    elif "xn--" in domain:
        forms.append(lower_case(f"{local}@{'.'.join(map(u_label, domain.split('.')))}"))
    return tuple(forms)
