"""docs/api.md names paths and scopes that exist, and every path."""

from __future__ import annotations

import re

from api.app import all_routes
from api.auth import SCOPES
from filterd.commands import token
from tests.support.material import CHECKOUT

PAGE = (CHECKOUT / "docs" / "api.md").read_text()
EXAMPLE = re.compile(
    r"curl (?:-O -J )?(?:-X ([A-Z]+) )?(?:-H '[^']+' )?(?:--data-binary @[A-Za-z.]+ )?(?:\\\n\s+)?\"?\$API(/[^\s\"?]*)"
)


def test_every_example_is_an_operation_and_every_operation_has_an_example() -> None:
    examples = {(method or "GET", path) for method, path in EXAMPLE.findall(PAGE)}
    routes = {
        (method, route.path) for route in all_routes() if route.include_in_schema for method in route.methods or ()
    }
    patterns = {operation: re.compile(re.sub(r"\{\w+\}", "[^/]+", operation[1])) for operation in routes}
    shown = set()
    for method, path in examples:
        exact = (method, path)
        found = (
            {exact}
            if exact in routes
            else {
                operation
                for operation, pattern in patterns.items()
                if operation[0] == method and pattern.fullmatch(path)
            }
        )
        assert found, f"{method} {path} does not exist"
        shown |= found
    assert routes - shown <= {("GET", "/v1/jobs"), ("GET", "/v1/outbox/{id}")}


def test_the_scopes_are_those_of_the_command_line() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) == set(SCOPES) == set(token.SCOPES)
