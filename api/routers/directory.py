"""Owns /v1/directory: pushed recipient lists.  What they must be, and when they count, is filterd.pushing's.

Readable addresses of safe and blocked senders are turned into keys before anything is kept, and are logged nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field, ValidationError

from api.auth import Principal, needs
from api.problems import ApiError, conflict, unavailable
from api.services import Svc
from api.views import Body, Done, View, errors
from filterd.directory.keys import KEY_BYTES
from filterd.directory.table import Entry
from filterd.directory.values import AcceptedDomain, DomainType, Thresholds
from filterd.pushed_files import Declared, PushRefusedError, UnknownPushError
from filterd.pushing import (
    MAX_DOMAINS,
    MAX_PEOPLE,
    PART_RECIPIENTS,
    VERSION,
    PushBusyError,
    Pushes,
    sender_key,
)

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/directory", tags=["directory"])

BEGIN_BYTES = 1024 * 1024  # MAX_DOMAINS and MAX_PEOPLE with usual names are half of it
ALGORITHM = f"HMAC-SHA-256, first {KEY_BYTES} octets, address in lower case"
MAX_KEYS = 2000  # addresses of one object; Exchange's own limit is about 1,100
MAX_SENDERS = 10_000  # Exchange allows 5,000 safe and 500 blocked ones

PushId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The id of POST /v1/directory/pushes.")]
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

    version: int = Field(ge=1)
    """Of this form: 1."""
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the whole list, made by whoever pushes: what has the digest of the list in use is not sent again."""
    parts: int = Field(ge=1, le=10_000)
    recipients: int = Field(ge=0, le=2**31)
    """Objects that receive mail, in all parts together."""
    domains: list[Domain] | None = Field(default=None, max_length=MAX_DOMAINS)
    """Accepted domains; null: those of the configuration are all."""
    people: list[Person] = Field(default=[], max_length=MAX_PEOPLE)


class Begun(View):
    """The push is open, or not needed."""

    id: str | None
    """For its parts; null when the list is the one in use."""
    unchanged: bool
    """The list is the one in use, which is now as of this moment."""


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


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without references, which would lead nowhere inside the description of the API."""
    parts = schema.pop("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, list):
            return [inlined(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            node = {**parts[node["$ref"].rpartition("/")[2]], **{k: v for k, v in node.items() if k != "$ref"}}
        return {name: inlined(each) for name, each in node.items()}

    return {name: inlined(each) for name, each in schema.items()}


@router.get("/key", responses=errors(409))
def key(services: Svc, who: Annotated[Principal, Depends(needs("directory"))]) -> SiteKey:
    """The site's key, under which whoever pushes makes keys of addresses."""
    with _answers():
        found = Pushes(services.config).site_key()
    log.info("site key given out", extra={"by": who.actor})
    return SiteKey(key=found.hex())


@router.post(
    "/pushes",
    status_code=201,
    responses={**errors(409), 200: {"model": Begun, "description": "the list is the one in use"}},
)
def begin(
    services: Svc, body: NewPush, response: Response, who: Annotated[Principal, Depends(needs("directory"))]
) -> Begun:
    """Begin a push; it is open for an hour.  Of four open ones the oldest makes room for a fifth."""
    if body.version != VERSION:
        problem = f"version {body.version} of the form is not known here"
        raise ApiError(422, problem, f"push in version {VERSION}, with the script of this release", "body.version")
    domains = None
    if body.domains is not None:
        domains = tuple(AcceptedDomain(domain.name, domain.type, domain.subdomains) for domain in body.domains)
    people = tuple(person.name for person in body.people)
    with _answers():
        identity = Pushes(services.config).begin(Declared(body.digest, body.parts, body.recipients, domains, people))
    if identity is None:
        response.status_code = 200
    log.info("push begun", extra={"push": identity or "unchanged", "recipients": body.recipients, "by": who.actor})
    return Begun(id=identity, unchanged=identity is None)


@router.put(
    "/pushes/{id}/parts/{number}",
    responses=errors(404, 408, 409, 413),
    dependencies=[Depends(needs("directory"))],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _whole(NewPart.model_json_schema())}},
        }
    },
)
async def add(request: Request, services: Svc, id: PushId, number: Annotated[int, Path(ge=1, le=10_000)]) -> Part:
    """Send a part, numbered from 1; sent again it takes the place of the first one.  At most 5,000 recipients and 8 MB."""
    async with services.place():
        raw = b"".join([block async for block in request.stream()])
        pushes = Pushes(services.config)
        with _answers():
            site_key = await anyio.to_thread.run_sync(pushes.site_key)
            entries = await anyio.to_thread.run_sync(_entries, raw, site_key)
            return Part(number=number, addresses=await anyio.to_thread.run_sync(pushes.add, id, number, entries))


@router.post("/pushes/{id}/commit", responses=errors(404, 409))
def commit(
    services: Svc,
    id: PushId,
    who: Annotated[Principal, Depends(needs("directory"))],
    body: Commit | None = None,
) -> InUse:
    """Put the list in use.  409 when parts are missing, when it would drop too much (the old list stays), or when a newer one is in use."""
    with _answers():
        done = Pushes(services.config).commit(id, body is not None and body.accept_drop)
    log.info("push committed", extra={"push": id, "addresses": done.addresses, "by": who.actor})
    return InUse.model_validate(done)


@router.delete("/pushes/{id}", responses=errors(404, 409))
def drop(services: Svc, id: PushId, who: Annotated[Principal, Depends(needs("directory"))]) -> Done:
    """Forget a push that was not committed."""
    with _answers():
        Pushes(services.config).drop(id)
    log.info("push dropped", extra={"push": id, "by": who.actor})
    return Done(id=id, done="dropped")


@contextmanager
def _answers() -> Iterator[None]:
    """What pushing refuses, as an answer.  Raises ApiError."""
    try:
        yield
    except UnknownPushError as error:
        raise ApiError(404, str(error), error.remedy) from None
    except PushBusyError as error:
        raise unavailable(str(error), 60) from None
    except PushRefusedError as error:
        if error.field in ("", "accept_drop"):
            raise conflict(str(error), error.remedy) from None
        raise ApiError(422, str(error), error.remedy, f"body.{error.field}") from None
    except OSError as error:
        log.error("a push cannot be kept", extra={"error": error.strerror})
        raise unavailable("the list cannot be written: the log of the API process says why", 60) from None


def _entries(raw: bytes, site_key: bytes) -> list[Entry]:
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
