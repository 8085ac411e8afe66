"""Owns the answer to "may this client use this reverse-path?".  RFC 7208.

pyspf decides; it is driven from asyncio without threads: a look-up it needs and that is not known yet ends the run, is
awaited through our Resolver, and the record is evaluated again from the beginning (pure CPU, see MAX_RUNS).
Must not know what a result costs, nor where DNS answers come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import spf

from filterd.auth.names import ascii_domain, is_address
from filterd.deadline import Deadline
from filterd.errors import TemporaryError
from filterd.mail.envelope import IPAddress
from filterd.mail.evidence import Result
from filterd.ports import Resolver

MAX_RECORDS_OCTETS = 8192  # of all v=spf1 records of one check: macro expansion in pyspf is quadratic in their length
MAX_TERM = 512  # characters of one term: quadratic is measured per term; the longest real ones have 100
MAX_TEXT = 512  # characters kept of other TXT records: only an explanation (exp=) is ever read from them
MAX_NAMES = 10  # RFC 7208 4.6.4: names of one MX or PTR answer that are looked up
MAX_RUNS = 60  # evaluations of one check: ten terms, each with a second round of addresses, need about 30
MAX_QUESTIONS = 130  # RFC 7208 4.6.4 allows ten terms of up to eleven questions, and one for the record itself
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SpfOutcome:
    """What SPF says.

    Attributes:
        domain: the domain that was asked (lower-case A-labels), empty when there is none.
        identity: "mailfrom" or "helo".
        explanation: text the domain's owner gives for a fail; from outside, for the log only.
        problem: why the result is temperror, permerror or none; for the log.
    """

    result: Result
    domain: str
    identity: str
    explanation: str = ""
    problem: str = ""


class _Miss(Exception):
    """A look-up that is not known yet; it ends a run of pyspf."""


class _Lookups:
    """The DNS answers of one check, in pyspf's form."""

    def __init__(self) -> None:
        self.answers: dict[_Key, list[Any] | TemporaryError] = {}
        self.missing: set[_Key] = set()
        self.record_octets = 0

    def find(self, name: str, rdtype: str) -> list[Any]:
        """Called by pyspf in place of a DNS question."""
        key = (name.lower(), rdtype)
        answer = self.answers.get(key)
        if answer is None:
            self.missing.add(key)  # noted aside, because pyspf swallows everything that is raised under exp=
            raise _Miss
        if isinstance(answer, TemporaryError):
            raise spf.TempError(str(answer))
        return [((name, rdtype), value) for value in answer]


_current: ContextVar[_Lookups] = ContextVar("spf_lookups")


def _dns_lookup(name: str, qtype: str, strict: bool = True, timeout: float = 20) -> list[Any]:
    return _current.get().find(name, qtype)


spf.DNSLookup = _dns_lookup  # the only door pyspf has to DNS is a global of its module
# pyspf searches the whole text once for every label in it (500 ms for hostile records within our bounds, measured);
# remembering the answer for the same text makes that linear.
spf.RE_INVALID_MACRO = SimpleNamespace(search=lru_cache(maxsize=64)(spf.RE_INVALID_MACRO.search))


class _Query(spf.query):  # type: ignore[misc]  # pyspf has no types
    """pyspf with its identity given to it, and with RFC 7208 5.5: a DNS error in a PTR name skips that name."""

    def __init__(self, client_ip: str, local: str, domain: str, helo: str) -> None:
        super().__init__(i=client_ip, s=f"{local}@{domain}", h=helo, strict=True, querytime=0)
        # pyspf splits at the first "@", which may stand in a quoted local-part
        self.l, self.o, self.d = local, domain, domain

    def validated_ptrs(self) -> list[str]:
        try:
            names = self.dns_ptr(self.i)[:MAX_NAMES]
        except spf.TempError:
            return []
        found = []
        for name in names:
            try:
                if self.cidrmatch(self.dns_a(name, self.A), self.cidrmax):
                    found.append(name)
            except spf.TempError:
                continue
        return found


async def check_spf(
    resolver: Resolver, client_ip: IPAddress, mail_from: str, helo: str, deadline: Deadline
) -> SpfOutcome:
    """The result for the reverse-path `mail_from`; for the null reverse-path ("") that of postmaster@`helo`.

    Never raises; DNS failures and a passed deadline are temperror.
    """
    if not mail_from:
        return await check_helo(resolver, client_ip, helo, deadline)
    local, at, domain = mail_from.rpartition("@")
    return await _check(resolver, client_ip, local if at else "", domain, helo, "mailfrom", deadline)


async def check_helo(resolver: Resolver, client_ip: IPAddress, helo: str, deadline: Deadline) -> SpfOutcome:
    """The result for the HELO identity (RFC 7208 2.3).  Never raises."""
    return await _check(resolver, client_ip, "", helo, helo, "helo", deadline)


async def _check(
    resolver: Resolver, client_ip: IPAddress, local: str, domain: str, helo: str, identity: str, deadline: Deadline
) -> SpfOutcome:
    name = ascii_domain(domain)
    if name is None or "." not in name or is_address(name):  # RFC 7208 4.3
        return SpfOutcome(Result.NONE, name or "", identity, problem="no domain name that could have a record")
    lookups = _Lookups()
    lookups.missing.add((name, "TXT"))  # what pyspf will ask for first: known beforehand, its first run is not in vain
    problem = await _fetch(resolver, lookups, str(client_ip), deadline)
    if problem:
        return SpfOutcome(Result.PERMERROR, name, identity, problem=problem)
    texts = lookups.answers[(name, "TXT")]
    if not isinstance(texts, TemporaryError) and not any(spf.RE_SPF.match(text) for (text,) in texts):
        return SpfOutcome(Result.NONE, name, identity)  # RFC 7208 4.5: most names given in HELO
    for _ in range(MAX_RUNS):
        answer = _run(lookups, _Query(str(client_ip), local or "postmaster", name, helo[:MAX_TEXT]))
        if answer is not None:
            return _outcome(answer, name, identity)
        problem = await _fetch(resolver, lookups, str(client_ip), deadline)
        if problem:
            return SpfOutcome(Result.PERMERROR, name, identity, problem=problem)
    return SpfOutcome(Result.PERMERROR, name, identity, problem="the records need too many look-ups")


def _run(lookups: _Lookups, query: _Query) -> tuple[str, str] | None:
    """One evaluation: (result, text), or None when look-ups are missing."""
    token = _current.set(lookups)
    try:
        result, _, text = query.check()
    except _Miss:
        return None
    except Exception as error:  # pyspf on hostile records: whatever it raises, the record cannot be used
        result, text = "permerror", f"the record cannot be evaluated ({type(error).__name__})"
    finally:
        _current.reset(token)
    return None if lookups.missing else (result, text)


def _outcome(answer: tuple[str, str], domain: str, identity: str) -> SpfOutcome:
    result = Result(answer[0])
    text = answer[1] if answer[1] != spf.EXPLANATIONS.get(answer[0]) else ""
    if result in (Result.TEMPERROR, Result.PERMERROR):
        return SpfOutcome(result, domain, identity, problem=text[:MAX_TEXT])
    return SpfOutcome(result, domain, identity, explanation=text[:MAX_TEXT] if result == Result.FAIL else "")


async def _fetch(resolver: Resolver, lookups: _Lookups, client_ip: str, deadline: Deadline) -> str:
    """Get what the last run missed, and the addresses of MX and PTR names, which the next run will need."""
    address_type = "AAAA" if ":" in client_ip else "A"
    wanted, lookups.missing = lookups.missing, set()
    for _round in range(2):
        if len(lookups.answers) + len(wanted) > MAX_QUESTIONS:
            return f"more than {MAX_QUESTIONS} DNS questions"
        keys = sorted(wanted)
        found = await asyncio.gather(*(_question(resolver, key, deadline) for key in keys))
        wanted = set()
        for key, answer in zip(keys, found, strict=True):
            lookups.answers[key] = answer
            if isinstance(answer, TemporaryError):
                continue
            if key[1] == "TXT":
                problem = _bound_texts(lookups, answer)
                if problem:
                    return problem
            elif key[1] == "MX" and len(answer) <= MAX_NAMES:
                wanted.update((host.lower(), address_type) for _, host in answer)
            elif key[1] == "PTR":
                wanted.update((host.lower(), address_type) for host in answer[:MAX_NAMES])
        wanted = {key for key in wanted if key[0] and key not in lookups.answers}
        if not wanted:
            break
    return ""


async def _question(resolver: Resolver, key: _Key, deadline: Deadline) -> list[Any] | TemporaryError:
    try:
        answer = await resolver.query(key[0], key[1], deadline)
    except TemporaryError as error:
        return error
    if key[1] == "TXT":
        return [(record.encode("latin-1"),) for record in answer.records]
    if key[1] == "MX":
        pairs = (record.partition(" ") for record in answer.records)
        return [(int(preference), host.removesuffix(".")) for preference, _, host in pairs]
    return list(answer.records)


def _bound_texts(lookups: _Lookups, records: list[Any]) -> str:
    """Enforce the bounds on records before pyspf sees them; returns the problem, or ""."""
    for index, (text,) in enumerate(records):
        if not spf.RE_SPF.match(text):
            records[index] = (text[:MAX_TEXT],)
            continue
        lookups.record_octets += len(text)
        if lookups.record_octets > MAX_RECORDS_OCTETS:
            return f"the SPF records are longer than {MAX_RECORDS_OCTETS} octets"
        if any(len(term) > MAX_TERM for term in text.split(b" ")):
            return f"a term of the SPF record is longer than {MAX_TERM} octets"
    return ""


PROPERTY: Mapping[str, str] = {"mailfrom": "smtp.mailfrom", "helo": "smtp.helo"}  # RFC 8601 2.7.2
