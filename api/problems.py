"""Owns how the API says no: one JSON shape for every error.  RFC 9110 section 15.

{"error": {"field": ..., "problem": ..., "remedy": ...}}: which part of the request, what is wrong, what to do.
Must not know any noun.  What was sent is never echoed, and no traceback leaves the process.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from filterd.errors import ConfigError, FilterdError, StorageError, TemporaryError

log = logging.getLogger(__name__)

RETRY_SECONDS = 5  # a locked or full database; short, because a person waits


class Problem(BaseModel):
    """What is wrong with a request, or with us."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    field: str | None = None
    """Part of the request at fault, such as body.label or query.limit; null when it is none."""
    problem: str
    """What is wrong."""
    remedy: str
    """What to do."""


class ErrorBody(BaseModel):
    """The body of every answer from 400 on."""

    error: Problem = Field(description="What is wrong and what to do.")


class ApiError(HTTPException):
    """An answer from 400 on, with its reason."""

    def __init__(
        self,
        status: int,
        problem: str,
        remedy: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, problem, dict(headers or {}))
        self.body = ErrorBody(error=Problem(field=field, problem=problem, remedy=remedy))

    def response(self) -> Response:
        """The answer itself."""
        return JSONResponse(self.body.model_dump(), self.status_code, headers=dict(self.headers or {}))


def not_found(noun: str, identity: str | int) -> ApiError:
    """404 that names the id."""
    return ApiError(404, f"no {noun} with the id {str(identity)[:80]!r}", f"look it up in the list of {noun}s")


def conflict(problem: str, remedy: str) -> ApiError:
    """409: the state of the thing does not allow it."""
    return ApiError(409, problem, remedy)


def unavailable(problem: str, seconds: int = RETRY_SECONDS) -> ApiError:
    """503 that says when to ask again."""
    return ApiError(503, problem, f"ask again in {seconds} seconds", headers={"Retry-After": str(seconds)})


_REMEDY = {
    404: "see /docs for the paths",
    405: "see /docs for the methods of this path",
    406: "see /docs for the media types",
    415: "see /docs for the media types",
}


def install(app: FastAPI) -> None:
    """Every exception of `app` becomes the one shape; what nobody expected does so in CatchAll."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(StorageError, _storage)
    app.add_exception_handler(FilterdError, _filterd)


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, ApiError):
        return error.response()
    if error.status_code == 400:  # FastAPI's own, for a body that its parser cannot take, such as JSON of 50,000 levels
        return ApiError(422, "the body cannot be read", "send JSON as /docs describes it", "body").response()
    remedy = _REMEDY.get(error.status_code, "see /docs for what is expected")
    return ApiError(error.status_code, str(error.detail), remedy, headers=error.headers).response()


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: Mapping[str, Any] = next(iter(error.errors()), {})
    field = ".".join(str(part) for part in first.get("loc", ()))[:200]
    problem = str(first.get("msg", "not valid")).removeprefix("Value error, ")[:500]
    return ApiError(422, problem, "see /docs for what is expected", field or None).response()


async def _storage(request: Request, error: Exception) -> Response:
    assert isinstance(error, StorageError)
    log.error("storage failed", extra={"path": request.url.path, "kind": error.kind, "error": str(error)})
    return unavailable(f"the database did not answer usefully ({error.kind})").response()


async def _filterd(request: Request, error: Exception) -> Response:
    log.error("request failed", extra={"path": request.url.path, "error": str(error)})
    if isinstance(error, TemporaryError):
        return unavailable(f"something outside did not answer usefully ({error.kind})").response()
    if isinstance(error, ConfigError):
        return unavailable("the configuration cannot be used", 60).response()
    return ApiError(500, "the request could not be carried out", "see the log of the API process").response()


class CatchAll:
    """The innermost middleware: a fault of ours is logged once and answered in the one shape."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            if scope["type"] != "http":
                raise
            log.exception("request crashed", extra={"path": scope["path"][:200]})
            if begun:  # too late for an answer: cut the connection, so that half of one is not taken for a whole
                raise
            fault = ApiError(500, "an unexpected fault of ours", "see the log of the API process, and report it")
            await (error if isinstance(error, ApiError) else fault).response()(scope, receive, send)
