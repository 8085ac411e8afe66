"""The page that describes the API needs a token and nothing from the Internet."""

from __future__ import annotations

import re

from api.app import all_routes
from tests.support.sideservice import Side


def test_the_page_loads_its_own_files_only(side: Side) -> None:
    page = side.ask("GET", "/docs", "read")
    assert page.headers["content-type"].startswith("text/html")
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sources
    for source in sources:
        assert source.startswith(("/docs/", "/openapi.json", "data:")), source
        if source.startswith("/docs/"):
            response = side.ask("GET", source, "read")
            assert response.status_code == 200
            assert len(response.content) > 100
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text, "no inline script: the policy forbids it"


def test_no_other_file_is_served(side: Side) -> None:
    for name in ("README.md", "LICENSE", "docs.html", "%2e%2e%2fapp.py", "..%2f..%2fpyproject.toml"):
        assert side.ask("GET", f"/docs/{name}", "read").status_code == 404


def test_the_description(side: Side) -> None:
    found = side.json("GET", "/openapi.json", "read")
    assert found["openapi"].startswith("3.1")
    assert found["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    operations = {
        (method, path): operation for path, item in found["paths"].items() for method, operation in item.items()
    }
    assert len(operations) == sum(len(route.methods or ()) for route in all_routes() if route.include_in_schema)
    for (method, path), operation in operations.items():
        if path == "/v1/health":
            assert operation["security"] == []
            continue
        assert operation["security"] == [{"token": []}], path
        assert "Scope: `" in operation["description"], path
        assert operation["summary"], path
        assert {"401", "403", "503"} <= set(operation["responses"]), (method, path)
        schema = operation["responses"]["401"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorBody"}
    named = found["components"]["schemas"]
    assert all(
        schema.get("description") for name, schema in named.items() if not _is_enum(schema) and "_" not in name
    ), [name for name, schema in named.items() if not schema.get("description")]


def _is_enum(schema: dict[str, object]) -> bool:
    return "enum" in schema or schema.get("title") in ("HTTPValidationError", "ValidationError")
