"""Owns what a policy record says about reports: the published policy in full, and where reports shall go.

RFC 9989 4.7 (rua), 4.8 (the obsolete size limit is ignored); RFC 9990 3.1.1.5, 3.5; RFC 6068 (mailto).
Must not know who evaluates the policy, nor whether a destination wants reports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from filterd.auth.dmarc_record import MAX_RECORD, PolicyRecord, is_policy_record, parse_record
from filterd.auth.tags import parse_tags
from filterd.mail.address import Mailbox, is_address_literal, parse_mailbox

MAX_DESTINATIONS = 4  # of one record, in its order; RFC 9990 3.5 leaves the number to the receiver
_MAX_URIS = 40  # of which the first good ones are looked for
_KNOWN_RECORDS = 1024  # parsed ones kept: about 1 MB, 8 MB when all are as long as they may be
_SIZE_LIMIT = re.compile(r"![0-9]+[kmgtKMGT]?$")
_FO = re.compile(r"[01ds](:[01ds]){0,3}")


@dataclass(frozen=True, slots=True)
class Published:
    """One policy record.

    Attributes:
        fo: failure reporting options, as the record says or by default.
        destinations: mailboxes of its mailto URIs, at most MAX_DESTINATIONS.
    """

    policy: PolicyRecord
    fo: str
    destinations: tuple[Mailbox, ...]


@lru_cache(_KNOWN_RECORDS)
def published(record: str) -> Published:
    """What `record` says; `record` is a policy record (filterd.auth.dmarc_record.is_policy_record)."""
    tags = _tags(record)
    fo = tags.get("fo", "").replace(" ", "").lower()
    return Published(
        parse_record(record), fo if _FO.fullmatch(fo) else "0", mailboxes(tags.get("rua", ""))[:MAX_DESTINATIONS]
    )


def confirmation(record: str) -> tuple[Mailbox, ...] | None:
    """What a destination's own record says (RFC 9990 4, steps 6 to 9): the mailboxes in its rua, if it has any.

    None: the record confirms nothing.
    """
    return mailboxes(_tags(record).get("rua", "")) if is_policy_record(record) else None


def mailboxes(rua: str) -> tuple[Mailbox, ...]:
    """The mailboxes of the mailto URIs in a rua tag, each once; other and broken URIs are left out."""
    found: dict[str, Mailbox] = {}
    for uri in rua.split(",", _MAX_URIS)[:_MAX_URIS]:
        scheme, _, rest = _SIZE_LIMIT.sub("", uri.strip()).partition(":")
        if scheme.lower() != "mailto":
            continue
        address = unquote(rest.partition("?")[0], errors="replace")
        mailbox = parse_mailbox(address)
        # Relays without SMTPUTF8 take ASCII only; a literal is no host that could confirm anything.
        if mailbox is not None and address.isascii() and not is_address_literal(mailbox.domain):
            found.setdefault(mailbox.key, mailbox)
    return tuple(found.values())


def _tags(record: str) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for name, value in parse_tags(record[:MAX_RECORD], lenient=True).items():
        tags.setdefault(name.lower(), value)
    return tags
