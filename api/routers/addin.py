"""Owns /addin: the files of the Outlook add-in, and what its buttons send.

Needs none of our tokens: whoever presses a button proves it with Exchange's.  Without [reports] public_url there is nothing here.
"""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from fastapi import APIRouter, Request
from pydantic import Field, field_validator
from starlette.responses import PlainTextResponse, Response

from api.addin.icons import icon
from api.addin.identity import MAX_TOKEN, IdentityError, user_key, user_of
from api.addin.manifest import APP_SIZES, BUTTON_SIZES, FUNCTIONS, manifest, page_of
from api.problems import ApiError, unavailable
from api.services import Services, Svc
from api.views import Body, View, refused
from filterd.adapters.exchange_certificate import read_keys
from filterd.config.learning import ReportsConfig
from filterd.errors import ConfigError, PermanentError
from filterd.mail.address import parse_mailbox
from filterd.reporting import Claim, submit
from filterd.storage.addin_users import Binding, bind
from filterd.storage.reports import Label

log = logging.getLogger(__name__)

router = APIRouter(prefix="/addin", include_in_schema=False)

SOURCE = "addin"
NOBODY = "addin.invalid"  # RFC 6761 6.4: no domain of anybody's, so that a report in this name is held as an outsider's
_STATIC = Path(__file__).resolve().parent.parent / "addin" / "static"
_MAX_NAME = 998  # characters of a Message-ID: a line (RFC 5322 2.1.1)
_DAY = "public, max-age=86400"  # Outlook shows no icon that it may not store
_SHORT = "public, max-age=300"
# Exchange's web mail shows the page in a frame and takes the icons from another host than its own.
_FRAMED = {
    "X-Frame-Options": "",
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class AddinReport(Body):
    """A button was pressed."""

    token: str = Field(min_length=1, max_length=MAX_TOKEN)
    """What getUserIdentityTokenAsync gave."""
    internet_message_id: str = Field(min_length=1, max_length=_MAX_NAME, pattern=r"^[^\x00-\x1f]+$")
    """Message-ID field of the open message."""
    address: str = Field(min_length=3, max_length=320)
    """The mailbox's address, as Outlook says it; the token has none."""
    label: Label

    @field_validator("internet_message_id")
    @classmethod
    def _names_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("expected a Message-ID, found white space")
        return value


class AddinAnswer(View):
    """What became of it, as the page knows it: counted, review, already, unknown."""

    outcome: str


@router.post("/reports")
def add(request: Request, services: Svc, body: AddinReport) -> AddinAnswer:
    """Report the open message.  401: the token proves nothing; 429: too often; 503: later."""
    reports = services.config.reports
    if not reports.addin:
        raise ApiError(404, "the add-in is not set up", _SET_UP)
    user_id = _user(request, services, body.token)
    user = user_key(user_id)
    if seconds := services.addin_reports.wait(user):
        raise _too_often(seconds)
    services.addin_reports.failed(user)
    reporter, note = _mailbox(body.address), ""
    binding = bind(services.database, user, reporter)
    if binding is not Binding.OWN:
        # Their word waits for a person: one of two tells no truth about the address, and no trust may come of it.
        log.warning(
            "address of an add-in user is in doubt", extra={"binding": binding, "address": reporter, "mailbox": user_id}
        )
        reporter, note = f"{user[:16]}@{NOBODY}", f"{_DOUBTS[binding]}: {reporter}, mailbox {user_id}"
    claim = Claim(body.label, reporter, SOURCE, internet_message_id=body.internet_message_id, note=note)
    try:
        found = submit(services.config, services.database, claim)
    except PermanentError as error:
        raise refused(error) from None
    return AddinAnswer(outcome=_outcome(found.already, found.state, found.holds))


_DOUBTS = {
    Binding.CONTESTED: "another mailbox names this address too",
    Binding.OTHER: "this mailbox named another address before",
}


def _outcome(already: bool, state: str, holds: tuple[str, ...]) -> str:
    """Never why it is held: that would tell a cheat what to do better."""
    if already:
        return "already"
    if "unknown_message" in holds:
        return "unknown"
    return "counted" if state == "counting" else "review"


def _mailbox(address: str) -> str:
    """The address as the ledger names it: two spellings of one (a dot at the end, letter case) are one.  Raises ApiError."""
    mailbox = parse_mailbox(address)
    if mailbox is None:
        raise ApiError(422, "no mailbox", "send userProfile.emailAddress as Outlook gives it", "body.address")
    return mailbox.key


def _user(request: Request, services: Services, token: str) -> str:
    """The mailbox's unique id.  Raises ApiError."""
    reports = services.config.reports
    assert reports.exchange_certificate is not None
    try:
        keys = _keys(reports.exchange_certificate)
    except ConfigError as error:
        log.error("the add-in cannot check identities", extra={"error": str(error)})
        raise unavailable("identities cannot be checked now", 60) from None
    address = request.client.host if request.client else ""
    try:
        # A right token always passes: behind a reverse proxy all users have one address, and nobody guesses an RSA signature.
        return user_of(token, page_of(reports.public_url), keys, time.time())
    except IdentityError as error:
        if seconds := services.wrong_identities.wait(address):
            raise _too_often(seconds) from None
        services.wrong_identities.failed(address)
        log.warning("wrong identity token", extra={"client": address, "error": str(error)})
        raise ApiError(
            401, "Exchange's token does not prove who asks", "see the log of the API process", "body.token"
        ) from None


def _keys(path: Path) -> Mapping[str, RSAPublicKey]:
    """The keys of the file as it is now.  Raises ConfigError."""
    try:
        seen = path.stat()
    except OSError:
        return read_keys(path)
    return _read(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, _mtime_ns: int, _size: int) -> Mapping[str, RSAPublicKey]:
    return read_keys(path)


def _too_often(seconds: int) -> ApiError:
    return ApiError(429, "too many requests", f"wait {seconds} seconds", headers={"Retry-After": str(seconds)})


_SET_UP = "set [reports] public_url and exchange_certificate, see docs/addin.md"


@cache
def _file(name: str) -> bytes:
    return (_STATIC / name).read_bytes()


def _page(reports: ReportsConfig) -> Response:
    source = urlsplit(reports.office_js)
    policy = (
        f"default-src 'none'; script-src 'self' {source.scheme}://{source.netloc}; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors https:"
    )
    body = _file("report.html").replace(b"@OFFICE_JS@", html.escape(reports.office_js).encode())
    return Response(body, media_type="text/html", headers={"Content-Security-Policy": policy, **_FRAMED})


def _manifest(reports: ReportsConfig) -> Response:
    return Response(manifest(reports.public_url), media_type="application/xml")


def _asset(name: str, media_type: str) -> Callable[[ReportsConfig], Response]:
    return lambda _reports: Response(_file(name), media_type=media_type, headers={"Cache-Control": _SHORT, **_FRAMED})


def _icon(name: str, size: int) -> Callable[[ReportsConfig], Response]:
    return lambda _reports: Response(
        icon(name, size), media_type="image/png", headers={"Cache-Control": _DAY, **_FRAMED}
    )


_ICONS = [("app", size) for size in APP_SIZES] + [(name, size) for name in FUNCTIONS for size in BUTTON_SIZES]
FILES: dict[str, Callable[[ReportsConfig], Response]] = {
    "manifest.xml": _manifest,
    "report.html": _page,
    "report.js": _asset("report.js", "text/javascript"),
    "report.css": _asset("report.css", "text/css"),
    **{f"{name}-{size}.png": _icon(name, size) for name, size in _ICONS},
}


def _serve(name: str) -> Callable[[Services], Response]:
    def endpoint(services: Svc) -> Response:
        reports = services.config.reports
        if not reports.addin:
            return PlainTextResponse(f"The Outlook add-in is not set up: {_SET_UP}.\n", 404)
        return FILES[name](reports)

    return endpoint


for _name in FILES:
    router.add_api_route(f"/{_name}", _serve(_name), methods=["GET"])

# Each path by its whole name: nothing else below /addin is open.
_OPEN_FILES = frozenset(("GET", f"/addin/{name}") for name in FILES)
OPEN = _OPEN_FILES | {("POST", "/addin/reports")}


def opened(reports: ReportsConfig) -> frozenset[tuple[str, str]]:
    """What needs no token: all of OPEN where the add-in is set up; else the files alone, which say how that is done."""
    return OPEN if reports.addin else _OPEN_FILES
