"""Owns the forms of /v1/directory: pushed lists, and what is known of recipients.  Must not know who is asked for what."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from api.problems import ApiError
from api.views import Body, View
from filterd.directory.keys import KEY_BYTES
from filterd.directory.table import Entry
from filterd.directory.values import DomainType, Thresholds
from filterd.pushed_files import MAX_PARTS
from filterd.pushing import MAX_DOMAINS, MAX_PEOPLE, PART_RECIPIENTS, VERSION, sender_key

ALGORITHM = f"HMAC-SHA-256, first {KEY_BYTES} octets, address in lower case"
MAX_KEYS = 2000  # addresses of one object; Exchange's own limit is about 1,100
MAX_SENDERS = 10_000  # Exchange allows 5,000 safe and 500 blocked ones
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Scl = Annotated[int | None, Field(ge=0, le=9)]
Sender = Annotated[str, Field(min_length=1, max_length=320)]


class SiteKey(View):
    """How addresses become keys."""

    version: int = VERSION
    """Of the form in which lists are pushed."""
    algorithm: str = ALGORITHM
    key: str
    """The site's key in hexadecimal digits."""
    name: str
    """Of the key; give it back when a push begins."""


class Domain(Body):
    """One accepted domain."""

    name: str = Field(min_length=1, max_length=255)
    """Without *. before it."""
    type: DomainType = DomainType.AUTHORITATIVE
    """authoritative, internal_relay or external_relay."""
    subdomains: bool = False
    """Domains below it are accepted as well (MatchSubDomains)."""


class Person(Body):
    """Somebody whose display name others use to be obeyed."""

    name: str = Field(min_length=1, max_length=256)


class NewPush(Body):
    """What is about to be pushed."""

    version: int = Field(ge=1, le=2**31)
    """Of this form: 1."""
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the whole list, made by whoever pushes: what has the digest of the list in use is not sent again."""
    parts: int = Field(ge=1, le=MAX_PARTS)
    recipients: int = Field(ge=0, le=2**31)
    """Objects that receive mail, in all parts together."""
    domains: list[Domain] | None = Field(default=None, max_length=MAX_DOMAINS)
    """Accepted domains; null: those of the configuration are all."""
    people: list[Person] = Field(default=[], max_length=MAX_PEOPLE)
    key_name: str = Field(default="", pattern=r"^([0-9a-f]{8})?$")
    """Name of the key that keys were made with, as GET /v1/directory/key gave it: was the key exchanged since, 409."""
    age_seconds: int = Field(default=0, ge=0, le=86_400)
    """How long ago whoever pushes began to read the list: of two the one that was read later counts."""


class Begun(View):
    """The push is open, or not needed."""

    id: str | None
    """For its parts; null when the list is the one in use."""
    unchanged: bool
    """The list is the one in use, which is now as of the moment in which it was read again."""


class Limits(Body):
    """SCL thresholds of one mailbox; null: it has none of its own."""

    junk: Scl = None
    quarantine: Scl = None
    reject: Scl = None
    delete: Scl = None


class Recipient(Body):
    """One object that receives mail: mailbox, contact, group, public folder …"""

    id: Hex
    """Its objectGUID in hexadecimal digits."""
    keys: list[Hex] = Field(min_length=1, max_length=MAX_KEYS)
    """Of its addresses."""
    internal_only: bool = False
    """Takes mail from authenticated senders only."""
    thresholds: Limits = Limits()
    safe: list[Sender] = Field(default=[], max_length=MAX_SENDERS)
    """Safe senders: keys of addresses or of @domains; addresses and domains in plain text are turned into keys at once."""
    blocked: list[Sender] = Field(default=[], max_length=MAX_SENDERS)


class NewPart(Body):
    """Some of the recipients."""

    recipients: list[Recipient] = Field(max_length=PART_RECIPIENTS)


class Part(View):
    """The part is kept."""

    number: int
    addresses: int


class Commit(Body):
    """How the push ends."""

    accept_drop: bool = False
    """Put it in use even if it drops more than push.max_drop_percent, or accepted domains."""


class InUse(View):
    """The list is in use; workers follow within seconds."""

    addresses: int
    added: int
    dropped: int


class Source(View):
    """One source of recipients."""

    name: str
    """file, hashed_file, ldap (with the name of its table), push or callahead."""
    usable: bool
    """Whether it can answer."""
    problem: str
    """Why it cannot, or why it answers from something old; empty when all is well."""
    recipients: int | None
    """Addresses; null where it does not hold them."""
    domains: int | None
    """Accepted domains that it names; null where it names none."""
    read_ms: int | None
    """Unix milliseconds at which what it answers from was true; null for now."""
    full_ms: int | None
    """Unix milliseconds at which everything was read anew."""
    warn_hours: int | None
    notes: list[str]
    busy: bool
    """Its list is being replaced just now."""


class Directory(View):
    """What is known of recipients as a whole."""

    sources: list[Source]
    """In the order in which they are asked."""
    domains: list[Domain]
    """Accepted domains, of all sources together."""
    people: int
    """Protected people of all sources; those of the configuration are not counted."""


class Address(View):
    """What is known of one address."""

    address: str
    status: str
    """known, internal_only, unknown, foreign_domain or unavailable."""
    known: bool
    """Whether there is such a recipient, be it for people inside only."""
    reply: str
    """What a stranger is told at RCPT."""
    problem: str
    """Why it cannot be known; empty when it can."""
    backend: str
    """Who says so."""
    as_of_ms: int | None
    """Unix milliseconds at which that was true; null for now."""
    age_seconds: int | None
    domain: str
    """The accepted domain that it belongs to; empty for none."""
    domain_type: str
    thresholds: Limits
    has_senders: bool
    """Whether safe or blocked senders of the mailbox can be read."""
    sender: str | None
    sender_word: str | None
    """safe, blocked, or null when the mailbox says nothing of that sender."""


def entries_of(raw: bytes, site_key: bytes) -> list[Entry]:
    """What a part says, with keys only.  Raises ApiError."""
    try:
        part = NewPart.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(["body", *(str(part) for part in first["loc"])])[:200]
        raise ApiError(422, str(first["msg"])[:500], "see /docs for what is expected", field) from None
    return [_entry(at, recipient, site_key) for at, recipient in enumerate(part.recipients)]


def _entry(at: int, recipient: Recipient, site_key: bytes) -> Entry:
    limits = recipient.thresholds
    senders: dict[str, tuple[bytes, ...]] = {}
    for name, texts in (("safe", recipient.safe), ("blocked", recipient.blocked)):
        try:
            senders[name] = tuple(sender_key(site_key, text) for text in texts)
        except ValueError as error:
            raise ApiError(422, str(error), "leave out what is neither", f"body.recipients.{at}.{name}") from None
    return Entry(
        bytes.fromhex(recipient.id),
        tuple(bytes.fromhex(key) for key in recipient.keys),
        recipient.internal_only,
        Thresholds(limits.junk, limits.quarantine, limits.reject, limits.delete),
        **senders,
    )
