"""What do the recipients say of the sender: is he on the list of safe or of blocked senders of their mailboxes?

Owns: which identities are asked about, and when a safe sender is believed: only when it is certain who wrote.  Must not know:
where mailboxes keep their lists, what a word of theirs leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from filterd.auth.author import author_domains
from filterd.auth.names import ascii_domain
from filterd.auth.proven import proven_domains
from filterd.checks.base import CheckContext
from filterd.content.persons import MAX_FIELD, persons_in
from filterd.content.suffixes import organizational
from filterd.directory.values import Directory, SenderList, SenderWord
from filterd.mail.envelope import TrustClass
from filterd.mail.evidence import Evidence, Reason, Result, Scope, Stage

AUTHOR, REVERSE_PATH = "author", "reverse-path"  # the identities, as the property "identity" names them
MAX_AUTHORS = 4  # that are asked about, as many as checks/dmarc.py evaluates (RFC 9989 11.5)
_MAX_ADDRESS = 320  # characters (RFC 5321 4.5.3.1: 64 + 1 + 255)
_SAID = re.compile(
    r'"(?:[^"\\]|\\.){0,200}"|\([^()]{0,200}\)'
)  # quoted strings and comments: names, whatever they hold
_REASONS = {SenderWord.SAFE: Reason.SAFE_SENDER, SenderWord.BLOCKED: Reason.BLOCKED_SENDER}
# Whoever is on such a list has a virus or is played by somebody: who wrote is not as certain as it looks.
_FORBIDS = frozenset(
    {
        *(("malware", Reason.MALWARE_FOUND), ("malware", Reason.MALWARE_SUSPECTED)),
        *(("spoof", Reason.OWN_DOMAIN), ("spoof", Reason.OWN_REVERSE_PATH), ("spoof", Reason.UNAVAILABLE)),
        ("impersonation", Reason.IMPERSONATED_NAME),
        ("impersonation", Reason.IMPERSONATED_ADDRESS),
        ("impersonation", Reason.IMPERSONATED_LOCAL_PART),
    }
)


@dataclass(slots=True)
class Senders:
    """The check: one finding for each recipient who says something of the sender."""

    directory: Directory
    name: ClassVar[str] = "senders"
    stage: ClassVar[Stage] = Stage.DATA
    after: ClassVar[tuple[str, ...]] = ("dkim", "dmarc", "spoof", "impersonation", "malware")

    async def __call__(self, ctx: CheckContext) -> Iterable[Evidence]:
        if ctx.connection.trust is not TrustClass.INTERNET or ctx.message is None or ctx.envelope is None:
            return ()
        claimed: dict[str, str] | None = None
        authentic: dict[str, str] = {}
        found = []
        for recipient in ctx.envelope.recipients:
            mailbox = recipient.mailbox
            listed = self.directory.sender_list(mailbox.local, mailbox.domain_key)
            if listed is None:
                continue
            if claimed is None:  # most mail is for nobody with a list
                claimed = _claimed(ctx)
                authentic = _authentic(ctx, claimed)
            item = self._asked(listed, claimed, authentic, mailbox.key)
            if item is not None:
                found.append(item)
        return found

    def _asked(
        self, listed: SenderList, claimed: Mapping[str, str], authentic: Mapping[str, str], recipient: str
    ) -> Evidence | None:
        """Blocked goes before safe, and needs no proof: whoever plays a blocked sender wants to be blocked."""
        said = {address: listed.says(address) for address in claimed}
        for address, identity in claimed.items():
            if said[address] is SenderWord.BLOCKED:
                return self._evidence(SenderWord.BLOCKED, address, identity, recipient)
        for address, identity in authentic.items():
            if said[address] is SenderWord.SAFE:
                return self._evidence(SenderWord.SAFE, address, identity, recipient)
        return None

    def _evidence(self, word: SenderWord, address: str, identity: str, recipient: str) -> Evidence:
        return Evidence(
            self.name,
            self.stage,
            Result.PASS if word is SenderWord.SAFE else Result.POLICY,
            _REASONS[word],
            Scope.RECIPIENT,
            detail=address.lower(),
            recipient=recipient,
            properties={"identity": identity},
            log_text=f"{word.value} for this recipient: {identity} {address}",
        )


def _claimed(ctx: CheckContext) -> dict[str, str]:
    """Every address that the message names as its sender -> which identity it is; authors first.

    Local-parts as they are spelled: how lists compare letters is their matter.
    """
    assert ctx.message is not None
    found: dict[str, str] = {}
    for person in persons_in(ctx.message, "from")[:MAX_AUTHORS]:
        domain = ascii_domain(person.domain)
        if person.local and domain:
            found.setdefault(f"{person.local}@{domain}"[:_MAX_ADDRESS], AUTHOR)
    path = ctx.envelope.reverse_path if ctx.envelope is not None else None
    domain = ascii_domain(path.domain) if path is not None else None
    if path is not None and domain:
        found.setdefault(f"{path.local}@{domain}"[:_MAX_ADDRESS], REVERSE_PATH)
    return found


def _authentic(ctx: CheckContext, claimed: Mapping[str, str]) -> dict[str, str]:
    """Those of `claimed` of whom it is certain that they wrote; nobody in doubt.

    The author: exactly one, whom DMARC passes, or SPF or DKIM aligned with him where his domain has no DMARC record.  The
    reverse-path: beside such an author, when SPF passes it for his organizational domain.
    """
    if any((item.check, item.reason) in _FORBIDS for item in ctx.evidence):
        return {}
    assert ctx.message is not None
    authors = [address for address, identity in claimed.items() if identity == AUTHOR]
    domains = author_domains(ctx.message)
    fields = ctx.message.all("from")
    # All readers must agree on who the author is, else he might be another one for the user, or for who signed.
    if len(authors) != 1 or len(fields) != 1 or not _names_one(fields[0].value):
        return {}
    if domains != [authors[0].rpartition("@")[2]]:
        return {}
    domain = domains[0]
    owner = organizational(domain)
    dmarc = ctx.found("dmarc")
    passed = [item for item in dmarc if item.properties.get("header.from") == domain and _passed(item)]
    unpublished = len(dmarc) == 1 and dmarc[0].reason is Reason.NO_RECORD
    by_name = [item for item in ctx.evidence if item.check in ("spf", "dkim")]
    aligned = any(organizational(name) == owner for name in proven_domains(by_name))
    if len(dmarc) != 1 or not (passed or (unpublished and aligned)):
        return {}
    found = {authors[0]: AUTHOR}
    spf = proven_domains(item for item in by_name if item.check == "spf")
    for address, identity in claimed.items():
        at = address.rpartition("@")[2]
        if identity == REVERSE_PATH and at in spf and organizational(at) == owner:
            found[address] = REVERSE_PATH
    return found


def _names_one(text: str) -> bool:
    """Whether a From field holds one address for every reader: of `<a@x> <b@x>` some take the first, some the last."""
    if len(text) > MAX_FIELD:
        return False
    plain = _SAID.sub(" ", text)
    before, _, angle = plain.partition("<")
    if "@" in before and angle:  # often the address stands there as a name as well
        return before.strip().lower() == angle.partition(">")[0].strip().lower() and angle.count("@") == 1
    return plain.count("@") == 1 and plain.count("<") <= 1


def _passed(item: Evidence) -> bool:
    """A DMARC pass of the only author; also one that a sealer saw whom the administrator trusts."""
    return (item.result is Result.PASS and item.reason is Reason.OK) or item.reason is Reason.NOT_ALIGNED_BUT_SEALED
