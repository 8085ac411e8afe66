"""Owns what is asked of a directory and where: rootDSE, accepted domains, recipients, what changed, protected people.

Facts: exchange.md 3.1 to 3.3; RFC 4512 5.1, RFC 4515; [MS-ADTS] 3.1.1.3.2, 3.1.1.3.4.4.3.  Must not know what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from filterd.adapters.ldap_errors import LdapError, printable
from filterd.adapters.ldap_link import Link
from filterd.adapters.ldap_root import read_root
from filterd.config import LdapConfig
from filterd.directory import attributes as words
from filterd.directory.attributes import Tally
from filterd.directory.table import Builder
from filterd.directory.table import Entry as Recipient
from filterd.directory.values import AcceptedDomain, ProtectedPerson
from filterd.wire.ldap_answer import Entry

MAX_CHANGES = 50_000  # objects changed since the last sync; of more, everything is read anew, page by page
MAX_DOMAINS = 20_000  # accepted domains; Exchange holds some thousands
MAX_PEOPLE = 2_000  # members of all protected groups
MAX_GROUPS = 500  # nested in them, where the directory does not follow them itself
MAX_NOTES = 50  # of one sync; people read them
MAX_SKEW_SECONDS = 300  # Kerberos allows as much; more is a clock to repair

_ZONES = ("dc=domaindnszones,", "dc=forestdnszones,")  # naming contexts of name servers
_OF_ONE_NAME = ("referral", "base", "rights")  # kinds of failures that a name asked with can lead to
_IN_CHAIN = "1.2.840.113556.1.4.1941"  # LDAP_MATCHING_RULE_IN_CHAIN: nested groups, by the server


@dataclass(slots=True)
class Changes:
    """What changed since a USN: objects with addresses, and ids of whatever has none (any more)."""

    changed: list[Recipient] = field(default_factory=list)
    gone: set[bytes] = field(default_factory=set)


class LdapDirectory:
    """Questions about recipients over one open link; used by one thread.  All of it blocks and raises LdapError.

    Attributes:
        root: read at the beginning, so that no change after it can be missed.
        notes: what people should know, one sentence each.
    """

    def __init__(self, config: LdapConfig, link: Link, site_key: bytes) -> None:
        self._config, self._link, self._key = config, link, site_key
        self._wanted = words.wanted(config.address_attributes, safelists=config.safelists)
        self._tally = Tally()
        self._notes: dict[str, None] = {}
        self.root = read_root(link)
        self.bases = config.bases or self._own_bases()

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of what was read, one sentence each."""
        return (*self._notes, *self._tally.notes())

    def elsewhere_note(self) -> str:
        """A word about domains below this one, which the server refers to and nobody reads; empty when there are none."""
        names = [name for name in sorted(self._link.elsewhere) if name.lower().startswith("dc=")]
        names = [name for name in names if not name.lower().startswith(_ZONES)]
        if not names or not self.root.default:
            return ""
        shown = " and ".join(map(printable, names[:3])) + (" and others" if len(names) > 3 else "")
        return f"{shown} lie below and are not read, their recipients are unknown: write an [[ldap]] for each domain, or ask a global catalog (port 3269)"

    def clock_note(self, now: datetime) -> str:
        """A word about clocks that differ; empty when they do not."""
        if self.root.now is None or abs((self.root.now - now).total_seconds()) <= MAX_SKEW_SECONDS:
            return ""
        off = (self.root.now - now).total_seconds()
        side = "ahead of" if off > 0 else "behind"
        return f"the directory's clock is {abs(off) / 60:.0f} minutes {side} ours ({self.root.now:%Y-%m-%d %H:%M} UTC there): correct the one that is wrong"

    def invocation(self) -> str:
        """Which copy of the database this is; another one after a restore.  Empty where that cannot be read."""
        try:
            found = self._link.read(self.root.service, ["invocationId"]) if self.root.service else None
        except LdapError as error:
            if error.kind not in _OF_ONE_NAME:
                raise
            self._note(
                f"invocationId of {printable(self.root.service)} may not be read: everything is read anew at each sync"
            )
            return ""
        values = found.attributes.get("invocationid") if found else None
        return values[0].hex() if values else ""

    def domains(self) -> tuple[AcceptedDomain, ...] | None:
        """Accepted domains of Exchange's configuration; None where the directory does not say."""
        if not self._config.read_domains:
            return None
        if not self.root.configuration:
            self._note(
                "no Exchange configuration in this directory: accepted domains stand in recipients.accepted_domains"
            )
            return None
        found: dict[AcceptedDomain, None] = {}
        query = "(objectClass=msExchAcceptedDomain)"
        for entry in self._all(self.root.configuration, query, [words.DOMAIN_NAME, words.DOMAIN_FLAGS], MAX_DOMAINS):
            domain = words.accepted_domain(entry.attributes)
            if domain is None:
                name = printable(
                    b" ".join(entry.attributes.get(words.DOMAIN_NAME.lower(), [])).decode("utf-8", "replace")
                )
                self._note(f"accepted domain {name or '(without a name)'} is not taken over: it is no domain's name")
            else:
                found[domain] = None
        if not found:
            self._note(
                "no accepted domains can be read: no Exchange in this forest, or no right to read its configuration; with ldap.read_domains = false they stand in [recipients] only"
            )
            return None
        return tuple(sorted(found, key=lambda domain: (domain.name, domain.subdomains)))

    def read_all(self, builder: Builder) -> None:
        """All recipients, page by page into `builder`."""
        names = self._config.address_attributes
        seen: set[bytes] | None = set() if len(self.bases) > 1 else None  # bases may lie in one another
        for base in self.bases:
            for entry in self._all(base, address_filter(names), self._wanted, self._config.max_entries - len(builder)):
                found = self._recipient(entry)
                if found is None or (seen is not None and found.id in seen):
                    continue
                if seen is not None:
                    seen.add(found.id)
                builder.add(found)

    def first_page(self) -> tuple[int, bool, tuple[str, ...]]:
        """A look only: recipients on the first page, whether there are more, and attributes that none of its objects has."""
        for base in self.bases:
            for page in self._link.pages(base, address_filter(self._config.address_attributes), self._wanted):
                found = sum(self._recipient(entry) is not None for entry in page)
                seen = {name for entry in page for name in entry.attributes}
                unseen = tuple(name for name in self._wanted if name.lower() not in seen and name not in words.IDS)
                if found:
                    return found, len(page) >= self._config.page_size, unseen
        return 0, False, ()

    def changes(self, since: int) -> Changes | None:
        """What has changed after USN `since`; None when that is too much.  What has no address (any more) is gone."""
        result = Changes()
        query = f"(uSNChanged>={since + 1})"
        for base in self.bases:
            for page in self._link.pages(base, query, self._wanted):
                for entry in page:
                    found = self._recipient(entry)
                    if found is not None:
                        result.changed.append(found)
                    else:
                        result.gone.add(words.identity(entry.dn, entry.attributes))
                if len(result.changed) + len(result.gone) > MAX_CHANGES:
                    return None
        # Deleted objects lie elsewhere, and only few may see them; for the others the nightly sync finds out.
        if self.root.sees_deleted and self.root.default:
            deleted = f"(&(isDeleted=TRUE)(uSNChanged>={since + 1}))"
            try:
                for page in self._link.pages(self.root.default, deleted, words.IDS, show_deleted=True):
                    result.gone.update(words.identity(entry.dn, entry.attributes) for entry in page)
                    if len(result.gone) > MAX_CHANGES:
                        return None
            except LdapError as error:
                if error.kind not in ("rights", "refused", "base"):
                    raise
        alive = {recipient.id for recipient in result.changed}
        result.gone -= alive  # of two bases, or restored from the recycle bin
        return result

    def people(self) -> tuple[ProtectedPerson, ...]:
        """Members of the protected groups, nested ones too."""
        found: dict[bytes, ProtectedPerson] = {}
        for group in self._config.protected_groups:
            try:
                if self._link.read(group, ["cn"]) is None:
                    self._note(
                        f"protected group {group} does not exist, or may not be read: correct ldap.protected_groups"
                    )
                    continue
                for entry in self._members(group):
                    person = words.person(entry.attributes, self._config.address_attributes, Tally())
                    if person is not None:
                        found[words.identity(entry.dn, entry.attributes)] = person
                    if len(found) >= MAX_PEOPLE:
                        self._note(
                            f"the protected groups have more than {MAX_PEOPLE} members: the others are not protected"
                        )
                        return _sorted(found.values())
            except LdapError as error:
                if error.kind not in _OF_ONE_NAME:
                    raise
                # A wrong name in this list must not keep recipients from being read.
                self._note(
                    f"protected group {group} cannot be read here: correct ldap.protected_groups, or name it in the [[ldap]] of its own domain"
                )
        return _sorted(found.values())

    def missing_attributes(self) -> tuple[str, ...]:
        """On a global catalog: which of the attributes it does not hold for the whole forest, as the schema says."""
        if not self._link.is_global_catalog or not self.root.schema:
            return ()
        asked = [name for name in (*self._wanted, words.DISPLAY_NAME) if name not in words.IDS]
        either = "".join(f"(lDAPDisplayName={escaped(name)})" for name in asked)
        query = f"(&(objectClass=attributeSchema)(|{either}))"
        held: dict[str, bool] = {}
        for entry in self._all(self.root.schema, query, ["lDAPDisplayName", "isMemberOfPartialAttributeSet"], 10_000):
            name = b"".join(entry.attributes.get("ldapdisplayname", [])).decode("utf-8", "replace").lower()
            held[name] = entry.attributes.get("ismemberofpartialattributeset", [b""])[0].upper() == b"TRUE"
        # What the schema does not have at all is no fault of the global catalog.
        return tuple(name for name in asked if held.get(name.lower()) is False)

    def note_missing(self) -> None:
        """Say what a global catalog does not hold.  Raises LdapError when that is the addresses themselves."""
        missing = self.missing_attributes()
        addresses = [name for name in self._config.address_attributes if name in missing]
        if len(addresses) == len(self._config.address_attributes):
            text = f"the global catalog does not hold {', '.join(addresses)}: name domain controllers in ldap.urls (port 636)"
            raise LdapError(f"{self._link.where}: {text}", "base")
        if missing:
            text = f"the global catalog does not hold {', '.join(missing)}: for them name domain controllers (port 636), one [[ldap]] for each domain"
            self._note(text)

    def _note(self, text: str) -> None:
        if len(self._notes) < MAX_NOTES:
            self._notes[text] = None

    def _own_bases(self) -> tuple[str, ...]:
        if self._link.is_global_catalog:
            return ("",)  # the whole forest
        if self.root.default:
            return (self.root.default,)
        if not self.root.contexts:
            raise LdapError(f"{self._link.where}: the server names no naming context: set ldap.bases", "base")
        return self.root.contexts[:1]

    def _recipient(self, entry: Entry) -> Recipient | None:
        return words.recipient(
            entry.dn,
            entry.attributes,
            self._key,
            self._config.address_attributes,
            safelists=self._config.safelists,
            tally=self._tally,
        )

    def _all(self, base: str, query: str, wanted: Sequence[str], most: int) -> Iterator[Entry]:
        count = 0
        for page in self._link.pages(base, query, wanted):
            count += len(page)
            if count > most:
                text = f"more than {most} objects below {base or 'the forest'}: raise ldap.max_entries, or narrow ldap.bases"
                raise LdapError(f"{self._link.where}: {text}", "limit")
            yield from page

    def _members(self, group: str) -> Iterator[Entry]:
        wanted = [words.DISPLAY_NAME, *self._config.address_attributes, *words.IDS]
        if self.root.default:
            base = "" if self._link.is_global_catalog else self.root.default
            query = f"(&(displayName=*)(!(objectClass=group))(memberOf:{_IN_CHAIN}:={escaped(group)}))"
            for page in self._link.pages(base, query, wanted):
                yield from page
            return
        waiting, seen = [group], {group.lower()}
        while waiting:
            found = self._link.read(waiting.pop(), [*wanted, "member", "uniqueMember"])
            if found is None:
                continue
            members = [*found.attributes.get("member", ()), *found.attributes.get("uniquemember", ())]
            if not members:
                yield found
            for octets in members:
                name = octets.decode("utf-8", "replace")
                if name.lower() not in seen and len(seen) < MAX_PEOPLE + MAX_GROUPS:
                    seen.add(name.lower())
                    waiting.append(name)


def _sorted(people: Iterable[ProtectedPerson]) -> tuple[ProtectedPerson, ...]:
    """In an order that does not depend on the server: what did not change looks the same."""
    return tuple(sorted(people, key=lambda person: (person.name, person.addresses)))


def address_filter(names: Sequence[str]) -> str:
    """What every object with an address matches: of proxyAddresses those of SMTP (facts: exchange.md 3.1), else any value."""
    parts = [f"({name}=smtp:*)" if name.lower() == words.PROXY_ADDRESSES.lower() else f"({name}=*)" for name in names]
    return parts[0] if len(parts) == 1 else f"(|{''.join(parts)})"


def escaped(value: str) -> str:
    """A value in a filter, RFC 4515 section 3."""
    return "".join(f"\\{ord(c):02x}" if c in "*()\\\0" else c for c in value)
