"""Owns the page that describes the API: /openapi.json, /docs and its files, all from this machine.

A browser gives the token by HTTP Basic; the files are vendored (api/static/README.md), so that the page works offline.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.problems import not_found

router = APIRouter(include_in_schema=False)

BASIC = frozenset({"docs", "openapi.json"})  # first path segments that take HTTP Basic
_STATIC = Path(__file__).resolve().parent.parent / "static"
_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "docs.js": "text/javascript",
}
# Swagger UI sets style attributes and draws icons from data: addresses; it runs no inline script.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def _file(name: str) -> bytes:
    return (_STATIC / name).read_bytes()


@router.get("/docs")
def page() -> Response:
    """The page."""
    return Response(_file("docs.html"), media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/{name}")
def asset(name: str) -> Response:
    """A file of the page."""
    if name not in _FILES:
        raise not_found("file", name)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(_file(name), media_type=_FILES[name], headers=headers)


@router.get("/openapi.json")
def schema(request: Request) -> JSONResponse:
    """The description of the API, OpenAPI 3.1."""
    found: dict[str, Any] = request.app.openapi()
    return JSONResponse(found)
