"""Owns the bounds of every request and the security header fields of every answer.  RFC 9110 15.5.14, RFC 9111 5.2.2.5.

Pure ASGI, so that nothing is read before it is allowed.  Must not know tokens or nouns.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import ApiError

log = logging.getLogger(__name__)

JSON_BYTES = 65_536  # no JSON body of ours but a report with its message needs more than a few KB
BODY_SECONDS = 300.0  # for the whole body: a 36 MB message in 300 s is 1 Mbit/s
OPEN_SECONDS = (
    15.0  # for a body that comes without a token: as long as a head may take, so that nobody holds a place longer
)

_FIELDS = {
    # Nothing that we answer may load or run anything; the pages under /docs set their own, still local, policy.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class SecurityFields:
    """Adds the security header fields to every answer that has not set them itself; answers nothing but HTTP.

    A field that an answer has set to nothing is left out: X-Frame-Options knows no word for "any site over HTTPS".
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _FIELDS.items():
                    if not headers.setdefault(name, value):
                        del headers[name]
            await send(message)

        await self.app(scope, receive, send_with_fields)


class BodyLimit:
    """Refuses a request body above its bound, announced or not, and one that takes too long."""

    def __init__(
        self,
        app: ASGIApp,
        large: dict[str, int],
        seconds: float = BODY_SECONDS,
        quick: dict[str, float] | None = None,
    ) -> None:
        """What is not usual.

        Args:
            large: paths whose bodies may have that many octets, with {} for any one segment; all others JSON_BYTES.
            quick: paths whose bodies must come within that many seconds; all others within `seconds`.
        """
        self.app = app
        self.large = {path: size for path, size in large.items() if "{}" not in path}
        self._patterns = [
            (re.compile("[^/]+".join(map(re.escape, path.split("{}")))), size)
            for path, size in large.items()
            if "{}" in path
        ]
        self.seconds = seconds
        self.quick = quick or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or len(announced) > 15 or int(announced) > limit:
            await _too_large(limit).response()(scope, receive, send)
            return
        seen = 0
        complete = False
        seconds = self.quick.get(scope["path"], self.seconds)
        until = asyncio.get_running_loop().time() + seconds

        async def bounded() -> Message:
            nonlocal seen, complete
            if complete:  # after the body, receive tells of the client's end and may wait as long as it likes
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise ApiError(
                    408, f"the body took more than {seconds:.0f} seconds", "send it faster", headers=_CLOSE
                ) from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if seen > limit:
                    raise _too_large(limit)
            return message

        await self.app(scope, bounded, send)

    def _limit(self, path: str) -> int:
        found = self.large.get(path)
        if found is None:
            found = next((size for pattern, size in self._patterns if pattern.fullmatch(path)), JSON_BYTES)
        return found


_CLOSE = {"Connection": "close"}


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body has more than {limit} octets", "send less", "body", _CLOSE)


class AccessLog:
    """One line for each request: method, path without query, status, whose token; never a token, never a body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            principal = scope.get("state", {}).get("principal")
            log.log(
                logging.DEBUG if scope["path"] == "/v1/health" else logging.INFO,
                "request",
                extra={
                    "method": scope["method"],
                    "path": scope["path"][:200],
                    "status": status,
                    "client": scope["client"][0] if scope.get("client") else "",
                    "by": getattr(principal, "actor", ""),
                    "ms": round((time.perf_counter() - started) * 1000, 1),
                },
            )
