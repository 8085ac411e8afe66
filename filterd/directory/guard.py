"""Owns when a new list of recipients may not take the place of the old one: a mistake in the directory must not refuse mail.

Must not know where either comes from.
"""

from __future__ import annotations

from collections.abc import Sequence

from filterd.directory.table import Table
from filterd.directory.values import AcceptedDomain, DomainType

FREE = 5  # so many recipients may always go, unless they are most of them: of 20 people two are ten percent
_SHOWN = 5  # names of domains in a text


def refusal(old: Table, new: Table, max_drop_percent: float) -> str:
    """Why `new` may not take the place of `old`; empty when it may."""
    if not len(old):
        return ""
    if not len(new):
        return f"all {len(old)} recipients would be dropped"
    return _too_many(old.missing_from(new), len(old), max_drop_percent)


def fewer(old: int, new: int, max_drop_percent: float) -> str:
    """The same where addresses cannot be compared, by their number: so many at least would be dropped."""
    return _too_many(max(0, old - new), old, max_drop_percent)


def _too_many(dropped: int, of: int, max_drop_percent: float) -> str:
    share = 100 * dropped / max(1, of)
    many = dropped > FREE or (dropped > 1 and share > 50)  # of three people two are no everyday change either
    if many and share > max_drop_percent:
        return f"{dropped} of {of} recipients would be dropped ({share:.1f} %, allowed are {max_drop_percent:g} %)"
    return ""


def gone_domains(old: Sequence[AcceptedDomain] | None, new: Sequence[AcceptedDomain] | None) -> str:
    """Which accepted domains the new ones lack, in words; empty when none: mail for one that is gone would be refused."""
    if not old:
        return ""
    names = {domain.name for domain in new or ()}
    gone = [domain.name for domain in old if domain.name not in names]
    if gone:
        shown = ", ".join(gone[:_SHOWN]) + (f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else "")
        return f"accepted domains {shown} are gone" if len(gone) > 1 else f"the accepted domain {shown} is gone"
    wide = {domain.name for domain in new or () if domain.subdomains}
    narrowed = [domain.name for domain in old if domain.subdomains and domain.name not in wide]
    if narrowed:
        return f"the accepted subdomains of {', '.join(narrowed[:_SHOWN])} are gone"
    return ""


def with_old(old: Sequence[AcceptedDomain], new: Sequence[AcceptedDomain] | None) -> tuple[AcceptedDomain, ...]:
    """The new accepted domains, and those of the old ones that would be gone; of both the new type counts."""
    types = {domain.name: domain.type for domain in new or ()}
    there = {(domain.name, domain.subdomains) for domain in new or ()}
    kept = [
        AcceptedDomain(domain.name, types.get(domain.name, domain.type), domain.subdomains)
        for domain in old
        if (domain.name, domain.subdomains) not in there
    ]
    return tuple(sorted((*(new or ()), *kept), key=lambda domain: (domain.name, domain.subdomains)))


def newly_looked_up(old: Sequence[AcceptedDomain] | None, new: Sequence[AcceptedDomain] | None) -> tuple[str, ...]:
    """Domains whose recipients were not looked up and now are: whoever is not in the directory is refused from now on."""
    before = {domain.name: domain.type for domain in old or ()}
    strict = DomainType.AUTHORITATIVE
    return tuple(d.name for d in new or () if d.type is strict and before.get(d.name, strict) is not strict)
