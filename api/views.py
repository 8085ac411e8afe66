"""Owns the forms that several routers share: ids, pages, bases of models.  Must not know any noun."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict

from api.problems import ApiError, ErrorBody
from filterd.errors import PermanentError

T = TypeVar("T")

# Our ids have 16 characters of Crockford's base 32; what other front ends may use is bounded and harmless.
MessageId = Annotated[
    str, Path(pattern=r"^[0-9A-Za-z_-]{1,64}$", description="Our id, as in SMTP replies and headers.")
]
RowId = Annotated[int, Path(ge=1, le=2**53)]
Text = Annotated[str | None, Query(min_length=1, max_length=320, pattern=r"^[^\x00-\x1f]+$")]
TimeMs = Annotated[int | None, Query(ge=0, le=2**53, description="Unix milliseconds.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items of a page.")]
Cursor = Annotated[str | None, Query(max_length=100, description="next_cursor of the page before.")]
Before = Annotated[int | None, Query(ge=1, le=2**53, description="next_before of the page before.")]


class View(BaseModel):
    """Base of what we answer."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True, frozen=True)


class Body(BaseModel):
    """Base of what we are sent: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)


class Listing(View, Generic[T]):
    """One page, newest first."""

    items: list[T]
    next_cursor: str | None = None
    """Give it as `cursor` to get the following page; null on the last one."""


class Rows(View, Generic[T]):
    """One page, newest first."""

    items: list[T]
    next_before: int | None = None
    """Give it as `before` to get the following page; null on the last one."""


class Done(View):
    """It is done."""

    id: str | int
    done: str
    """What happened, in one word."""


_CONFLICTS = frozenset({"id", "state"})


def refused(error: PermanentError, prefix: str = "body") -> ApiError:
    """What storage refuses, as an answer: "field: text"; a state that does not allow it is 409, the rest 422."""
    field, colon, text = str(error).partition(": ")
    if not colon or not field.replace("_", "").isalpha():
        return ApiError(422, str(error), "see /docs for what is expected")
    if field in _CONFLICTS or "expected held" in text or "already" in text or text == "no copy is held":
        return ApiError(409, text, "look at its present state first")
    return ApiError(422, text, "see /docs for what is expected", f"{prefix}.{field}")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: 401, 403, 422, 429, 503 and the given ones, all of one shape."""
    texts = {
        401: "no token, or a wrong one",
        403: "the token lacks the scope that the answer names",
        404: "unknown id",
        408: "the body came too slowly",
        409: "its state does not allow it",
        410: "the octets are no longer kept",
        413: "the body is too large",
        415: "a media type that is not taken",
        422: "the request is not valid",
        429: "too many wrong tokens",
        503: "ask again later",
    }
    return {
        status: {"model": ErrorBody, "description": texts[status]} for status in (401, 403, 422, 429, 503, *statuses)
    }
