"""Owns the OpenAPI description: the token as security scheme, the scope of each operation.  OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.auth import SCOPES
from api.views import errors
from filterd import __version__

_INTRODUCTION = """Quarantine, trace, reports, lists, models and queue of filterd.

Every path but `GET /v1/health` wants `Authorization: Bearer` with a token made with `filterd token create`.
Times are Unix milliseconds. Errors are `{"error": {"field", "problem", "remedy"}}`. Scopes: """


def scopes_of(route: APIRoute) -> set[str]:
    """The scopes that a route demands."""
    return {scope for call in _calls(route.dependant) if (scope := getattr(call, "scope", None))}


def _calls(dependant: Dependant) -> Iterator[Any]:
    for child in dependant.dependencies:
        yield child.call
        yield from _calls(child)


def describe(app: FastAPI, routes: Iterable[APIRoute]) -> dict[str, Any]:
    """The description of `routes`, all those of `app`; made once."""
    if app.openapi_schema is None:
        scopes = "; ".join(f"`{name}`: {text}" for name, text in SCOPES.items())
        found = get_openapi(
            title="filterd", version=__version__, description=_INTRODUCTION + scopes + ".", routes=app.routes
        )
        found.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for route in routes:
            for method in route.methods or ():
                operation = found["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    _secure(operation, scopes_of(route))
                    _bound(operation)
        app.openapi_schema = found
    return app.openapi_schema


def _secure(operation: dict[str, Any], scopes: set[str]) -> None:
    operation["security"] = [{"token": []}] if scopes else []
    if scopes:
        text = f"Scope: `{'`, `'.join(sorted(scopes))}`."
        operation["description"] = f"{operation.get('description', '')}\n\n{text}".strip()


def _bound(operation: dict[str, Any]) -> None:
    """What api.guards answers to a body, whatever the route is."""
    if "requestBody" in operation:
        for status, answer in errors(408, 413).items():
            content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
            told = {"description": answer["description"], "content": content}
            operation["responses"].setdefault(str(status), told)
