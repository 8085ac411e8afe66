"""Does mail from the internet play somebody whom the recipients trust: a protected person, one of our addresses, our domains?

Owns: what counts as playing, and what speaks against it.  Must not know: how names and domains are compared (content/), where
senders are remembered, what a finding costs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from filterd.auth.names import ascii_domain, is_same_or_below
from filterd.auth.proven import proven_domains
from filterd.checks.base import CheckContext
from filterd.config import ImpersonationConfig
from filterd.content.freemail import FREEMAIL
from filterd.content.lookalike import Likeness, Lookalikes
from filterd.content.persons import Person, name_keys, persons_in, seen
from filterd.content.suffixes import organizational
from filterd.directory.values import ProtectedPerson
from filterd.errors import TemporaryError
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from filterd.ports import Greylist

_MAX_AUTHORS = 5
_MAX_LOCAL = 64  # characters of a local-part in the record (RFC 5321 4.5.3.1.1)
_MIN_LOCAL = 5  # letters of a local-part that is one person's: "info", "ceo" or "anna" are many
_MAILBOX = re.compile(r"[\w.+-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})")
_LIST = re.compile(r"\bvia\b", re.I)  # mailing lists and services that write for somebody say so, and people see it
_LIST_FIELDS = ("list-id", "list-post", "mailing-list")  # RFC 2919, RFC 2369; lists have answers go to themselves
_LIKENESS = {Likeness.WORDS: Reason.LOOKALIKE_WORDS, Likeness.ENDING: Reason.LOOKALIKE_ENDING}


class Impersonation:
    """The check.  A first contact never is a finding of its own: it stands only beside others."""

    name: ClassVar[str] = "impersonation"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("dkim", "dmarc")

    def __init__(
        self,
        config: ImpersonationConfig,
        ours: frozenset[str],
        lookalikes: Lookalikes,
        greylist: Greylist | None,
        clock: Callable[[], float],
        people: Iterable[ProtectedPerson] = (),
    ) -> None:
        """`ours`: accepted domains.  `lookalikes` knows them and the partners.  `clock`: Unix seconds.

        `people`: those of the directory; who stands in the configuration goes before them.
        """
        self._config = config
        self._greylist = greylist
        self._clock = clock
        self.take(ours, lookalikes, people)

    def take(self, ours: frozenset[str], lookalikes: Lookalikes, people: Iterable[ProtectedPerson]) -> None:
        """Go on with these; what `__init__` says of them holds."""
        self._ours = ours
        self._lookalikes = lookalikes
        by_name: dict[frozenset[str], ProtectedPerson] = {}
        by_local: dict[str, ProtectedPerson] = {}
        for person in self._people(people):
            for key in name_keys(person.name):
                by_name[key] = _both(by_name.get(key), person)
            for address in person.addresses:
                local = address.rpartition("@")[0].lower()
                if len(local) >= _MIN_LOCAL:
                    by_local[local] = _both(by_local.get(local), person)
        self._by_name, self._by_local = by_name, by_local

    def _people(self, people: Iterable[ProtectedPerson]) -> Iterator[ProtectedPerson]:
        yield from (ProtectedPerson(person.name, person.addresses) for person in self._config.people)
        yield from people

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None:
            return ()
        if any(item.reason is Reason.ALLOW_LISTED for item in ctx.found("lists")):
            return ()
        proven = proven_domains(ctx.evidence)
        authors = persons_in(ctx.message, "from")[:_MAX_AUTHORS]
        if authors and all(self._is_proven_ours(author, proven) for author in authors):
            return ()
        forged = any(item.result is Result.FAIL for item in ctx.found("dmarc"))
        found = [finding for author in authors for finding in self._look(author, forged)]
        found += self._answers_elsewhere(ctx.message, authors)
        if not found:
            return ()
        first = await self._is_first_contact(ctx)
        known = {True: "yes", False: "no", None: "unknown"}[first]
        unique = {item.reason: item for item in reversed(found)}
        out = [replace(item, properties={**item.properties, "first_contact": known}) for item in unique.values()]
        if first and any(item.reason not in _QUIET for item in out):
            out.append(self._evidence(Reason.FIRST_CONTACT, "", "no mail of this domain was taken before"))
        return out

    def _own(self, domain: str) -> bool:
        return any(is_same_or_below(domain, own) for own in self._ours)

    def _is_proven_ours(self, author: Person, proven: frozenset[str]) -> bool:
        domain = ascii_domain(author.domain) or ""
        return self._own(domain) and any(self._own(name) for name in proven)

    def _look(self, author: Person, forged: bool) -> Iterator[Evidence]:
        domain = ascii_domain(author.domain) or ""
        address = _address(author.local, domain)
        if self._own(domain):
            return  # with nothing behind it that is a matter of its own (checks/spoof.py)
        person = self._named(author.shown)
        if person is not None and (forged or not _writes_from(person, address)):
            yield self._evidence(Reason.IMPERSONATED_NAME, person.name, f"{author.shown[:100]!r} at {address}", address)
        shown = seen(author.shown)
        claimed = [match for match in _MAILBOX.finditer(shown) if self._own(_domain(match[1]))]
        if claimed and not _LIST.search(shown):
            text = f"{claimed[0][0]} is the name of {address}"
            yield self._evidence(Reason.IMPERSONATED_ADDRESS, claimed[0][0], text, address)
        known = self._by_local.get(author.local.lower())
        if known is not None and domain in FREEMAIL and (forged or not _writes_from(known, address)):
            yield self._evidence(Reason.IMPERSONATED_LOCAL_PART, author.local, f"{known.name}'s, at {domain}", address)
        yield from self._looks_like(domain, address)

    def _named(self, shown: str) -> ProtectedPerson | None:
        if not self._by_name or not shown:
            return None
        return next((self._by_name[key] for key in name_keys(shown) if key in self._by_name), None)

    def _looks_like(self, domain: str, address: str) -> Iterator[Evidence]:
        found = self._lookalikes.find(domain) if domain else None
        if found is not None:
            reason = _LIKENESS.get(found.kind, Reason.LOOKALIKE_DOMAIN)
            text = f"{domain} looks like {found.domain} ({found.kind})"
            yield self._evidence(reason, text, text, address)

    def _answers_elsewhere(self, message: Message, authors: Sequence[Person]) -> Iterator[Evidence]:
        """Answers go to another owner's domain, while the author claims to be us or writes from a provider for everybody."""
        claimed = {ascii_domain(author.domain) or "" for author in authors} - {""}
        if not claimed or not message.all("reply-to") or any(message.all(name) for name in _LIST_FIELDS):
            return
        owners = {organizational(domain) for domain in claimed}
        for answer in persons_in(message, "reply-to"):
            domain = ascii_domain(answer.domain) or ""
            if not domain or organizational(domain) in owners or self._own(domain):
                continue
            address = _address(answer.local, domain)
            if any(self._own(name) or name in FREEMAIL for name in claimed):
                text = f"author at {min(claimed)}, answers to {domain}"
                yield self._evidence(Reason.REPLY_TO_ELSEWHERE, domain, text, address)
            yield from self._looks_like(domain, address)
            return

    async def _is_first_contact(self, ctx: CheckContext) -> bool | None:
        """Whether no mail of the reverse-path's domain was taken before; None where SPF does not pass or nobody remembers."""
        path = ctx.envelope.reverse_path if ctx.envelope is not None else None
        passed = any(item.result is Result.PASS for item in ctx.found("spf"))
        if path is None or not passed or self._greylist is None:
            return None
        try:
            at_ms = int(self._clock() * 1000)
            return not await self._greylist.knows_sender(path.domain_key, at_ms, ctx.deadline)
        except TemporaryError:
            return None  # what was found stands without it

    def _evidence(self, reason: Reason, detail: str, text: str, address: str = "") -> Evidence:
        properties = {"address": address} if address else {}
        return Evidence(self.name, self.stage, Result.FAIL, reason, detail=detail, properties=properties, log_text=text)


_QUIET = frozenset({Reason.LOOKALIKE_ENDING})  # weighs nothing: no reason to look at who it is either


def _address(local: str, domain: str) -> str:
    return f"{local[:_MAX_LOCAL]}@{domain}".lower()


def _domain(text: str) -> str:
    return ascii_domain(text) or ""


def _both(first: ProtectedPerson | None, other: ProtectedPerson) -> ProtectedPerson:
    """One person of two with the same name or local-part: whatever address either has is no impersonation."""
    if first is None:
        return other
    return ProtectedPerson(first.name, tuple(dict.fromkeys((*first.addresses, *other.addresses))))


def _writes_from(person: ProtectedPerson, address: str) -> bool:
    return any(address == known.lower() for known in person.addresses)
