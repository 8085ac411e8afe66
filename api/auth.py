"""Owns who may ask what: tokens, scopes, and the answers 401, 403, 429.  RFC 6750 (Bearer), RFC 7617 (Basic), RFC 6585 4.

Nothing is open but GET /v1/health and the paths that the composition names: the middleware stands before the router, so that a
new path, a wrong one and a wrong method need a token as well.  Must not know any noun.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import ApiError, unavailable
from filterd.errors import StorageError
from filterd.storage import tokens
from filterd.storage.database import Database
from filterd.storage.tokens import TokenInfo

log = logging.getLogger(__name__)

# What a token may allow.  admin allows everything.
SCOPES = {
    "read": "lists, trace, previews, scans, metrics",
    "quarantine": "release and delete quarantined mail, change the queue",
    "report": "report mail as spam or ham, withdraw reports that nobody decided",
    "learn": "review reports, retrain, switch the model",
    "lists": "change the address lists",
    "directory": "push recipients, accepted domains and thresholds (deploy/exchange)",
    "admin": "everything, and the tokens",
}
OPEN = frozenset({("GET", "/v1/health"), ("HEAD", "/v1/health")})
CACHE_SECONDS = 5.0  # a revoked token is refused after that at the latest
_CACHE_ENTRIES = 1024
_MAX_HEADER = 512  # a token has 59 characters
FAILURES = 10  # wrong tokens of one address in a window, then 429
WINDOW_SECONDS = 60.0
_ADDRESSES = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: of the token, for the record.
        token_id: public part of the token.
    """

    name: str
    token_id: str
    scopes: frozenset[str]

    @property
    def actor(self) -> str:
        """As it stands in quarantine and queue: who changed something."""
        return f"{self.name} (token {self.token_id})"

    def may(self, scope: str) -> bool:
        """Whether the token has the scope, or admin."""
        return scope in self.scopes or "admin" in self.scopes


class Verifier:
    """Tokens against the database, good ones remembered for CACHE_SECONDS; only hashes of them are kept in memory."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds that never go back."""
        self._database = database
        self._clock = clock
        self._good: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    async def verify(self, token: str) -> Principal | None:
        """Who it is, or None.  Raises StorageError."""
        key = _digest(token)
        found = self._good.get(key)
        if found and found[0] > self._clock():
            return found[1]
        info = await anyio.to_thread.run_sync(tokens.verify, self._database, token)
        if info is None:
            self._good.pop(key, None)
            return None
        principal = _principal(info)
        self._good[key] = (self._clock() + CACHE_SECONDS, principal)
        self._good.move_to_end(key)
        while len(self._good) > _CACHE_ENTRIES:
            self._good.popitem(last=False)
        return principal

    def was_good(self, token: str) -> bool:
        """Whether this token was good when last asked for: it is no guess."""
        return _digest(token) in self._good


class FailureLimiter:
    """Counts wrong tokens of each client address in a window; knows at most _ADDRESSES of them.

    Anything else that one asker may do `most` times in a window is counted by it too.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = FAILURES) -> None:
        self._clock = clock
        self._most = most
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds that this address must wait; 0 when it may try."""
        started, count = self._windows.get(address, (0.0, 0))
        left = started + WINDOW_SECONDS - self._clock()
        return max(1, int(left + 0.999)) if count >= self._most and left > 0 else 0

    def failed(self, address: str) -> None:
        """Count a wrong token."""
        started, count = self._windows.pop(address, (self._clock(), 0))
        if started + WINDOW_SECONDS <= self._clock():
            started, count = self._clock(), 0
        self._windows[address] = (started, count + 1)
        while len(self._windows) > _ADDRESSES:
            self._windows.popitem(last=False)


class Authentication:
    """Lets a request through when it has a good token, and remembers whose; sees neither body nor route."""

    def __init__(
        self,
        app: ASGIApp,
        verifier: Verifier,
        limiter: FailureLimiter,
        basic: frozenset[str],
        opened: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        """What may be asked without a token, or with it in another way.

        Args:
            basic: first path segments where a browser may give the token as the password of HTTP Basic.
            opened: methods and whole paths that need no token, besides OPEN.
        """
        self.app = app
        self._open = OPEN | opened
        self._verifier = verifier
        self._limiter = limiter
        self._basic = basic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) in self._open:
            await self.app(scope, receive, send)
            return
        try:
            scope.setdefault("state", {})["principal"] = await self._principal(scope)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        except StorageError as error:
            log.error("token cannot be verified", extra={"kind": error.kind, "error": str(error)})
            await unavailable("the database did not answer usefully").response()(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal:
        basic = scope["method"] in ("GET", "HEAD") and scope["path"].split("/")[1] in self._basic
        token = _presented(Headers(scope=scope).getlist("authorization"), basic)
        if token is None:
            raise _unauthorized(basic, "no token", given=False)
        address = scope["client"][0] if scope.get("client") else ""
        if not self._verifier.was_good(token) and (seconds := self._limiter.wait(address)):
            raise ApiError(
                429,
                "too many wrong tokens from this address",
                f"wait {seconds} seconds, then use a token made with `filterd token create`",
                headers={"Retry-After": str(seconds)},
            )
        principal = await self._verifier.verify(token)
        if principal is None:
            self._limiter.failed(address)
            log.warning("wrong token", extra={"client": address, "path": scope["path"][:200]})
            raise _unauthorized(basic, "the token is unknown, expired or revoked", given=True)
        return principal


def needs(scope: str) -> Callable[[Request], Coroutine[Any, Any, Principal]]:
    """A FastAPI dependency: the principal, who must have `scope`; else 403 that names it."""
    assert scope in SCOPES

    async def dependency(request: Request) -> Principal:
        principal = request.scope.get("state", {}).get("principal")
        if not isinstance(principal, Principal):
            raise _unauthorized(False, "no token", given=False)
        if not principal.may(scope):
            raise lacks(scope)
        return principal

    dependency.scope = scope  # type: ignore[attr-defined]  # read by api.describe, for people
    return dependency


def lacks(scope: str) -> ApiError:
    """403 that names the scope."""
    return ApiError(
        403,
        f"the token lacks the scope {scope!r} ({SCOPES[scope]})",
        f"use a token made with `filterd token create --scope {scope}`",
    )


def _presented(values: list[str], basic: bool) -> str | None:
    if len(values) != 1 or len(values[0]) > _MAX_HEADER:
        return None
    kind, _, rest = values[0].partition(" ")
    if kind.lower() == "bearer" and rest.strip():
        return rest.strip()
    if kind.lower() == "basic" and basic:
        try:
            pair = base64.b64decode(rest.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
        return pair.partition(":")[2] or None
    return None


def _unauthorized(basic: bool, problem: str, given: bool) -> ApiError:
    challenge = 'Bearer realm="filterd"' + (', error="invalid_token"' if given else "")
    remedy = "send Authorization: Bearer with a token made with `filterd token create`"
    if basic:
        challenge = 'Basic realm="filterd: any user, token as password", charset="UTF-8"'
        remedy = "give any user name, and as password a token made with `filterd token create`"
    return ApiError(401, problem, remedy, headers={"WWW-Authenticate": challenge})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _principal(info: TokenInfo) -> Principal:
    return Principal(info.name, info.id, frozenset(info.scopes))
