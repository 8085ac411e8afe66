"""Owns /v1/directory: pushed recipient lists, and what is known of recipients.  When a list counts is filterd.pushing's.

Readable addresses of safe and blocked senders are turned into keys before anything is kept, and are logged nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from api.auth import Principal, needs
from api.directory_forms import (
    Address,
    Begun,
    Commit,
    Directory,
    Domain,
    InUse,
    NewPart,
    NewPush,
    Part,
    SiteKey,
    Source,
    entries_of,
)
from api.problems import ApiError, conflict, unavailable
from api.services import Svc
from api.views import Done, errors
from filterd.directory.keys import key_name
from filterd.directory.values import AcceptedDomain
from filterd.directory_view import BadAddressError, json_of
from filterd.pushed_files import MAX_PARTS, Declared, PushRefusedError, UnknownPushError
from filterd.pushing import VERSION, PushBusyError, Pushes

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/directory", tags=["directory"])

BEGIN_BYTES = 1024 * 1024  # MAX_DOMAINS and MAX_PEOPLE with usual names are half of it
PushId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The id of POST /v1/directory/pushes.")]
Mail = Annotated[str, Query(min_length=3, max_length=320, pattern=r"^[^\x00-\x1f]+$")]


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
    with _answers(who):
        found = Pushes(services.config).site_key()
    log.info("site key given out", extra={"by": who.actor})
    return SiteKey(key=found.hex(), name=key_name(found))


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
    declared = Declared(
        body.digest, body.parts, body.recipients, domains, people, body.key_name, body.age_seconds * 1000
    )
    with _answers(who):
        identity = Pushes(services.config).begin(declared)
    if identity is None:
        response.status_code = 200
    log.info("push begun", extra={"push": identity or "unchanged", "recipients": body.recipients, "by": who.actor})
    return Begun(id=identity, unchanged=identity is None)


@router.put(
    "/pushes/{id}/parts/{number}",
    responses=errors(404, 408, 409, 413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _whole(NewPart.model_json_schema())}},
        }
    },
)
async def add(
    request: Request,
    services: Svc,
    id: PushId,
    number: Annotated[int, Path(ge=1, le=MAX_PARTS)],
    who: Annotated[Principal, Depends(needs("directory"))],
) -> Part:
    """Send a part, numbered from 1; sent again it takes the place of the first one.  At most 5,000 recipients and 8 MB."""
    async with services.part():
        raw = b"".join([block async for block in request.stream()])
        pushes = Pushes(services.config)
        with _answers(who):
            site_key = await anyio.to_thread.run_sync(pushes.site_key)
            entries = await anyio.to_thread.run_sync(entries_of, raw, site_key)
            return Part(number=number, addresses=await anyio.to_thread.run_sync(pushes.add, id, number, entries))


@router.post("/pushes/{id}/commit", responses=errors(404, 409))
def commit(
    services: Svc,
    id: PushId,
    who: Annotated[Principal, Depends(needs("directory"))],
    body: Commit | None = None,
) -> InUse:
    """Put the list in use.  409 when parts are missing, when it would drop too much (nobody is dropped, who is new is in use), or when a newer one is in use."""
    accept_drop = body is not None and body.accept_drop
    with _answers(who):
        done = Pushes(services.config).commit(id, accept_drop)
    numbers = {"addresses": done.addresses, "added": done.added, "dropped": done.dropped}
    log.info("push committed", extra={"push": id, **numbers, "accept_drop": accept_drop, "by": who.actor})
    return InUse.model_validate(done)


@router.delete("/pushes/{id}", responses=errors(404, 409))
def drop(services: Svc, id: PushId, who: Annotated[Principal, Depends(needs("directory"))]) -> Done:
    """Forget a push that was not committed."""
    with _answers(who):
        Pushes(services.config).drop(id)
    log.info("push dropped", extra={"push": id, "by": who.actor})
    return Done(id=id, done="dropped")


@router.get("/status", responses=errors(), dependencies=[Depends(needs("read"))])
async def status(services: Svc) -> Directory:
    """The sources of recipients: how many each has, how old it is, what is wrong; and the accepted domains."""
    view = await services.directory.get()
    sources = await view.status()
    return Directory(
        sources=[Source.model_validate(source.json()) for source in sources],
        domains=[Domain(name=d.name, type=d.type, subdomains=d.subdomains) for d in view.directory.domains()],
        people=len(view.directory.people()),
    )


@router.get("/test", responses=errors(), dependencies=[Depends(needs("read"))])
async def look(services: Svc, address: Mail, sender: Mail | None = None) -> Address:
    """What is known of an address, from where, and what a stranger is told at RCPT; with `sender` the mailbox's word on that sender."""
    view = await services.directory.get()
    try:
        found = await view.test(address, sender)
    except BadAddressError as error:
        field, _, text = str(error).partition(": ")
        problem = text.partition(", found")[0]
        raise ApiError(422, problem, "give a whole address", f"query.{field}") from None
    return Address.model_validate(json_of(found))


@contextmanager
def _answers(who: Principal) -> Iterator[None]:
    """What pushing refuses, as an answer and in the log: whoever looks after the filter sees no script.  Raises ApiError."""
    try:
        yield
    except UnknownPushError as error:
        raise ApiError(404, str(error), error.remedy) from None
    except PushBusyError as error:
        raise unavailable(str(error), 60) from None
    except PushRefusedError as error:
        log.warning("push refused", extra={"problem": str(error), "remedy": error.remedy, "by": who.actor})
        if error.field in ("", "accept_drop"):
            raise conflict(str(error), error.remedy) from None
        raise ApiError(422, str(error), error.remedy, f"body.{error.field}") from None
    except OSError as error:
        log.error("a push cannot be kept", extra={"error": error.strerror})
        raise unavailable("the list cannot be written: the log of the API process says why", 60) from None
