"""Owns the DMARC evaluation: policy discovery and organizational domains by tree walk, alignment, policy.  RFC 9989.

Must not know how SPF and DKIM came to their results, nor what is done with a policy (RFC 9989 7.4: not refusal alone).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from filterd.auth.dmarc_record import PolicyRecord, is_policy_record, parse_record
from filterd.auth.names import ascii_domain, is_address, is_same_or_below
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.evidence import Result
from filterd.ports import DnsStatus, Resolver

MAX_WALK = 8  # RFC 9989 4.10: queries of one tree walk
MAX_IDENTIFIERS = 12  # SPF's and those of ten DKIM signatures; each may cost a tree walk


@dataclass(frozen=True, slots=True)
class DmarcOutcome:
    """What DMARC says.

    Attributes:
        result: pass; fail; none (no record); permerror (a record that cannot be used); temperror (DNS did not say).
        policy: what the domain's owner asks for when the result is fail, after sp, np and t: none, quarantine, reject.
        organizational_domain: of the author domain, empty when unknown.
        record_domain: where the policy record was found, empty when there is none.
        record: the policy record's text.
        aligned: the mechanisms by which an identifier is aligned: "dkim", "spf", both or none.
        problem: for the log.
    """

    result: Result
    policy: str = "none"
    organizational_domain: str = ""
    record_domain: str = ""
    record: str = ""
    aligned: frozenset[str] = field(default=frozenset())
    problem: str = ""


async def evaluate_dmarc(
    resolver: Resolver,
    author_domain: str,
    spf_domain: str | None,
    dkim_domains: Sequence[str],
    deadline: Deadline,
    uncertain_spf: str | None = None,
    uncertain_dkim: Sequence[str] = (),
) -> DmarcOutcome:
    """Evaluate one author domain.

    `spf_domain` is given only if SPF passed for it, `dkim_domains` are the d= of passing signatures.  The uncertain ones
    had a temporary error: if nothing else aligns and one of them would, the result is temperror.  Never raises.
    """
    author = ascii_domain(author_domain)
    if author is None or is_address(author):
        return DmarcOutcome(Result.NONE, problem="the author domain is no domain name")
    walks = _Walks(resolver, deadline)
    walk = await walks.walk(author)
    found = walk.found
    if walk.error and author not in found:
        return DmarcOutcome(Result.TEMPERROR, problem=f"no policy record now: {walk.error}")
    organizational = "" if walk.error else _organizational_domain(author, found)
    chosen = author if author in found else _policy_domain(organizational, found)
    if chosen is None:
        return DmarcOutcome(Result.NONE, organizational_domain=organizational)
    record = found[chosen]
    outcome = DmarcOutcome(Result.FAIL, "none", organizational, chosen, record.text)
    if not record.usable:
        return replace(outcome, result=Result.PERMERROR, problem="the policy record has no valid policy")
    highest = walk.highest or organizational
    try:
        aligned = await _aligned(_identifiers(spf_domain, dkim_domains), author, organizational, highest, record, walks)
        if not aligned:
            uncertain = _identifiers(uncertain_spf, uncertain_dkim)
            if await _aligned(uncertain, author, organizational, highest, record, walks):
                raise TemporaryError("SPF or DKIM that would align has a temporary error")
    except TemporaryError as error:
        return replace(outcome, result=Result.TEMPERROR, problem=f"alignment is not known now: {error}")
    exists = True
    if chosen != author and record.np is not None:
        try:
            exists = (await resolver.query(author, "TXT", deadline)).status != DnsStatus.NXDOMAIN
        except TemporaryError as error:
            if not aligned:  # of what passes, the policy is only shown
                return replace(outcome, result=Result.TEMPERROR, problem=f"the policy is not known now: {error}")
    policy = record.policy(below=chosen != author, exists=exists)
    result = Result.PASS if aligned else Result.FAIL
    return replace(outcome, result=result, policy=policy, aligned=aligned)


def _identifiers(spf: str | None, dkim: Sequence[str]) -> list[tuple[str, str]]:
    """(mechanism, domain), each domain once, DKIM first because it survives forwarding."""
    pairs = [("dkim", name) for name in dkim] + ([("spf", spf)] if spf else [])
    normal = {(by, domain): None for by, name in pairs if (domain := ascii_domain(name))}
    return list(normal)[:MAX_IDENTIFIERS]


async def _aligned(
    identifiers: list[tuple[str, str]],
    author: str,
    organizational: str,
    highest: str,
    record: PolicyRecord,
    walks: _Walks,
) -> frozenset[str]:
    """The mechanisms by which an identifier is aligned (RFC 9989 4.4, 4.10.2); empty when none is.

    `organizational` is empty when it is not known now; then it is `highest` or a name below it.  Raises TemporaryError when
    nothing is aligned as far as DNS says, and it does not say everything.
    """
    aligned = {by for by, domain in identifiers if domain == author}
    unknown: TemporaryError | None = None
    for by, domain in identifiers:
        if by in aligned:
            continue
        if record.strict_dkim if by == "dkim" else record.strict_spf:
            continue
        # the organizational domain of a name is the name or one above it: others cannot share the author's
        if not is_same_or_below(domain, highest):
            continue
        if not organizational:
            unknown = TemporaryError("the organizational domain of the author is not known")
            continue
        walk = await walks.walk(domain)
        if walk.error:
            unknown = walk.error
        elif _organizational_domain(domain, walk.found) == organizational:
            aligned.add(by)
    if unknown and not aligned:
        raise unknown
    return frozenset(aligned)


@dataclass(frozen=True, slots=True)
class _Walk:
    """What a tree walk found.

    Attributes:
        found: domain -> record, from the longest to the shortest, up to the first with psd=n or psd=y.
        error: set when a name that matters could not be asked for; then only the records before it are given.
        highest: with an error, the shortest name that might be the organizational domain.
    """

    found: dict[str, PolicyRecord]
    error: TemporaryError | None = None
    highest: str = ""


class _Walks:
    """Tree walks of one evaluation; no name is asked for twice."""

    def __init__(self, resolver: Resolver, deadline: Deadline) -> None:
        self._resolver = resolver
        self._deadline = deadline
        self._known: dict[str, PolicyRecord | TemporaryError | None] = {}

    async def walk(self, start: str) -> _Walk:
        """RFC 9989 4.10.  All names are asked for at once: one round trip instead of eight."""
        names = walk_names(start)
        new = [name for name in names if name not in self._known]
        answers = await asyncio.gather(*(self._record(name) for name in new))
        self._known.update(zip(new, answers, strict=True))
        found: dict[str, PolicyRecord] = {}
        for index, name in enumerate(names):
            record = self._known[name]
            if isinstance(record, TemporaryError):
                if _is_right_below(next(reversed(found), ""), name):
                    break
                above = [other for other in names[index + 1 :] if self._known[other] is not None]
                return _Walk(found, record, above[-1] if above else name)
            if record is None:
                continue
            found[name] = record
            if record.psd != "u":
                break
        return _Walk(found)

    async def _record(self, domain: str) -> PolicyRecord | TemporaryError | None:
        try:
            answer = await self._resolver.query(f"_dmarc.{domain}", "TXT", self._deadline)
        except TemporaryError as error:
            return error
        records = [text for text in answer.records if is_policy_record(text)]
        return parse_record(records[0]) if len(records) == 1 else None  # several are all discarded


def walk_names(start: str) -> list[str]:
    """The names of a tree walk, longest first: `start`, then at most seven labels, one less each time."""
    labels = start.split(".")
    count = len(labels)
    lengths = [count, *range(min(count - 1, MAX_WALK - 1), 0, -1)]
    return [".".join(labels[count - length :]) for length in lengths]


def _is_right_below(domain: str, top: str) -> bool:
    """Whether `domain` is one label below the top-level domain `top`.

    Then it is the organizational domain whatever `top` would have said, no record or psd=y (RFC 9989 5.2: who runs a public
    suffix publishes it with that).
    """
    return "." not in top and domain.partition(".")[2] == top


def _organizational_domain(start: str, found: dict[str, PolicyRecord]) -> str:
    """RFC 9989 4.10.2; `start` itself when no record says otherwise."""
    for domain, record in found.items():
        if record.psd == "n":
            return domain
        if record.psd == "y" and domain != start:
            below = start.removesuffix("." + domain).rpartition(".")[2]
            return f"{below}.{domain}"
    return min(found, key=lambda domain: domain.count("."), default=start)


def _policy_domain(organizational: str, found: dict[str, PolicyRecord]) -> str | None:
    """RFC 9989 4.10.1 when the author domain has no record: its organizational, then its public suffix domain."""
    if organizational in found:
        return organizational
    return next((domain for domain, record in found.items() if record.psd == "y"), None)
