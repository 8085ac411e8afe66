"""Owns what attributes of a directory's objects mean: addresses, thresholds, senders, accepted domains.  Facts: exchange.md 3.1, 4.1.

RFC 4530 (entryUUID), [MS-ADA3] 2.169 (proxyAddresses).  An odd value costs itself, not its object.  Must not know how they are read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from filterd.auth.names import ascii_domain
from filterd.directory.domains import plain_local
from filterd.directory.keys import KEY_BYTES, address_key, lower_case
from filterd.directory.table import ID_BYTES, MAX_SENDERS, Entry
from filterd.directory.values import AcceptedDomain, DomainType, ProtectedPerson, Thresholds
from filterd.mail.address import parse_mailbox

Attributes = Mapping[str, Sequence[bytes]]  # name in lower case -> values

HASH_BYTES = 4  # of one sender in msExchSafeSendersHash (facts: exchange.md 4.1)
MAX_ADDRESSES = 10_000  # of one object; Active Directory holds about 1,300 values of one attribute
MAX_NAME = 256  # characters of a display name, the most that Active Directory holds

IDS = ("objectGUID", "entryUUID")
PROXY_ADDRESSES = "proxyAddresses"
DISPLAY_NAME = "displayName"
REQUIRE_AUTH = "msExchRequireAuthToSendTo"
TYPE_DETAILS = "msExchRecipientTypeDetails"
LIMITS = {
    "junk": "msExchMessageHygieneSCLJunkThreshold",
    "quarantine": "msExchMessageHygieneSCLQuarantineThreshold",
    "reject": "msExchMessageHygieneSCLRejectThreshold",
    "delete": "msExchMessageHygieneSCLDeleteThreshold",
}
SAFE, BLOCKED = "msExchSafeSendersHash", "msExchBlockedSendersHash"
DOMAIN_NAME, DOMAIN_FLAGS = "msExchAcceptedDomainName", "msExchAcceptedDomainFlags"

_SYSTEM = 16_384 | 8_388_608 | 536_870_912  # system, arbitration, discovery mailboxes (facts: exchange.md 3.1)
_ENABLED = -(2**31)  # a threshold in force is this plus the SCL
_MAX_SCL = 9
_PREFIX = re.compile(r"([A-Za-z0-9-]{1,20}):")  # of a proxy address: SMTP, smtp, X400, X500, SIP, EUM …
_PLAIN = re.compile(
    r"[A-Za-z0-9_+-]{1,64}(?:\.[A-Za-z0-9_+-]{1,64}){0,8}@[A-Za-z0-9.-]{1,180}(?<!\.)"
)  # nearly all: 1 µs, not 5
_TYPES = {0: DomainType.AUTHORITATIVE, 1: DomainType.EXTERNAL_RELAY, 2: DomainType.INTERNAL_RELAY}
_NUMBER = re.compile(rb"-?[0-9]{1,20}")


@dataclass(slots=True)
class Tally:
    """What was met while reading.

    Attributes:
        addresses: values that are no addresses.
        lists: lists of senders that are no lists of hashes.
        system: objects of Exchange's own, passed over.
    """

    addresses: int = 0
    lists: int = 0
    system: int = 0

    def notes(self) -> tuple[str, ...]:
        """What people should know of it."""
        texts = (
            (self.addresses, "values with smtp: that are no addresses were passed over"),
            (self.lists, "lists of safe or blocked senders of a wrong length were passed over"),
        )
        return tuple(f"{count} {text}" for count, text in texts if count)


def wanted(address_attributes: Sequence[str], *, safelists: bool) -> tuple[str, ...]:
    """The attributes that `recipient` looks at."""
    senders = (SAFE, BLOCKED) if safelists else ()
    return (*dict.fromkeys((*IDS, *address_attributes, REQUIRE_AUTH, TYPE_DETAILS, *LIMITS.values(), *senders)),)


def recipient(
    dn: bytes,
    attributes: Attributes,
    site_key: bytes,
    address_attributes: Sequence[str],
    *,
    safelists: bool,
    tally: Tally,
) -> Entry | None:
    """What is kept of one object; None when it has no address, or is one of Exchange's own."""
    found = addresses(attributes, address_attributes, tally)
    if not found:
        return None
    if _number(attributes, TYPE_DETAILS, 0) & _SYSTEM:
        tally.system += 1
        return None
    return Entry(
        identity(dn, attributes),
        tuple([address_key(site_key, address) for address in found]),
        internal_only=_first(attributes, REQUIRE_AUTH).upper() == b"TRUE",
        thresholds=thresholds(attributes),
        safe=_hashes(attributes, SAFE, tally) if safelists else (),
        blocked=_hashes(attributes, BLOCKED, tally) if safelists else (),
    )


def identity(dn: bytes, attributes: Attributes) -> bytes:
    """What the object is known by when it is renamed: objectGUID, entryUUID; else its name, of which a renamed one has another."""
    guid = _first(attributes, "objectGUID")
    if len(guid) == ID_BYTES:
        return guid
    text = _first(attributes, "entryUUID")
    if text:
        try:
            return UUID(text.decode("ascii")).bytes
        except ValueError:
            pass
    return hashlib.sha256(dn.lower()).digest()[:ID_BYTES]


def addresses(attributes: Attributes, names: Sequence[str], tally: Tally) -> list[str]:
    """Its addresses, in the order of the directory, each once, lower case.

    Of values with a prefix those with smtp: count, in any case; without one the whole value is the address.  A domain outside
    ASCII is there in both forms.
    """
    found: dict[str, None] = {}
    for name in names:
        for octets in attributes.get(name.lower(), ())[:MAX_ADDRESSES]:
            value = octets.decode("utf-8", "surrogateescape")  # of which no address is made
            prefix = _PREFIX.match(value)
            if prefix is not None:
                if prefix[1].lower() != "smtp":
                    continue
                value = value[prefix.end() :]
            value = value.strip(" ")
            if not _PLAIN.fullmatch(value):
                mailbox = parse_mailbox(value)
                if mailbox is None:
                    tally.addresses += 1
                    continue
                value = f"{plain_local(mailbox.local)}@{mailbox.domain}"  # as it is looked for
            value = lower_case(value)
            found[value] = None
            if not value.isascii():
                local, _, domain = value.rpartition("@")
                known = ascii_domain(domain)
                if known is not None and known != domain:
                    found[f"{local}@{known}"] = None
    return list(found)


def thresholds(attributes: Attributes) -> Thresholds:
    """Its own SCL thresholds, those that are in force."""
    return Thresholds(*(_threshold(attributes, name) for name in LIMITS.values()))


def person(attributes: Attributes, names: Sequence[str], tally: Tally) -> ProtectedPerson | None:
    """A member of a protected group; None without a display name, or of a group."""
    name = _first(attributes, DISPLAY_NAME).decode("utf-8", "replace").strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        return None
    return ProtectedPerson(name, tuple(addresses(attributes, names, tally)))


def accepted_domain(attributes: Attributes) -> AcceptedDomain | None:
    """An accepted domain of Exchange's configuration; None when its name cannot be one (`*` stands for all of them).

    A type that nobody has described is taken as internal relay: its mail is not refused.
    """
    text = _first(attributes, DOMAIN_NAME).decode("utf-8", "replace").strip()
    below = text.startswith("*.")
    name = ascii_domain(text.removeprefix("*."))
    if name is None:
        return None
    kind = _number(attributes, DOMAIN_FLAGS, 0) & 3  # 4 says "the default domain"
    return AcceptedDomain(name, _TYPES.get(kind, DomainType.INTERNAL_RELAY), below)


def _first(attributes: Attributes, name: str) -> bytes:
    values = attributes.get(name.lower())
    return values[0] if values else b""


def _number(attributes: Attributes, name: str, default: int) -> int:
    text = _first(attributes, name)
    return int(text) if text and _NUMBER.fullmatch(text) else default


def _threshold(attributes: Attributes, name: str) -> int | None:
    scl = _number(attributes, name, 0) - _ENABLED
    return scl if 0 <= scl <= _MAX_SCL else None


def _hashes(attributes: Attributes, name: str, tally: Tally) -> tuple[bytes, ...]:
    """The hashes of a list of senders, as they stand there."""
    octets = _first(attributes, name)
    if len(octets) % HASH_BYTES:
        tally.lists += 1
        return ()
    return tuple(
        octets[at : at + HASH_BYTES] for at in range(0, min(len(octets), HASH_BYTES * MAX_SENDERS), HASH_BYTES)
    )


def sender_bytes(*, safelists: bool) -> int:
    """How wide a sender is in a table of such entries."""
    return HASH_BYTES if safelists else KEY_BYTES
