"""Owns when a new list of recipients may not take the place of the old one: a mistake in the directory must not refuse mail.

Must not know where either comes from.
"""

from __future__ import annotations

from collections.abc import Sequence

from filterd.directory.table import Table
from filterd.directory.values import AcceptedDomain, DomainType

FREE = 5  # so many recipients may always go: of 20 people two are ten percent
_SHOWN = 5  # names of domains in a text


def refusal(old: Table, new: Table, max_drop_percent: float) -> str:
    """Why `new` may not take the place of `old`; empty when it may."""
    if not len(old):
        return ""
    dropped = old.missing_from(new)
    if not len(new):
        return f"all {len(old)} recipients would be dropped"
    share = 100 * dropped / len(old)
    if dropped > FREE and share > max_drop_percent:
        return (
            f"{dropped} of {len(old)} recipients would be dropped ({share:.1f} %, allowed are {max_drop_percent:g} %)"
        )
    return ""


def domain_refusal(old: Sequence[AcceptedDomain] | None, new: Sequence[AcceptedDomain] | None) -> str:
    """Why these accepted domains may not take the place of the old ones: mail for one that is gone would be refused."""
    if not old:
        return ""
    names = {domain.name for domain in new or ()}
    gone = [domain.name for domain in old if domain.name not in names]
    if gone:
        shown = ", ".join(gone[:_SHOWN]) + (f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else "")
        return f"{'accepted domains' if len(gone) > 1 else 'the accepted domain'} {shown} would be gone"
    wide = {domain.name for domain in new or () if domain.subdomains}
    narrowed = [domain.name for domain in old if domain.subdomains and domain.name not in wide]
    if narrowed:
        return f"subdomains of {', '.join(narrowed[:_SHOWN])} would no longer be accepted"
    return ""


def newly_looked_up(old: Sequence[AcceptedDomain] | None, new: Sequence[AcceptedDomain] | None) -> tuple[str, ...]:
    """Domains whose recipients were not looked up and now are: whoever is not in the directory is refused from now on."""
    before = {domain.name: domain.type for domain in old or ()}
    strict = DomainType.AUTHORITATIVE
    return tuple(d.name for d in new or () if d.type is strict and before.get(d.name, strict) is not strict)
