"""Owns a side service for tests: a real SQLite database, a client, a token for each scope.  Not part of the product."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.auth import SCOPES
from filterd.config import Config, parse_config
from filterd.storage import tokens
from filterd.storage.database import Database
from tests.support.doubles import ScriptedUpstream
from tests.support.storage import make_database


@dataclass
class ScriptedScanner:
    """Answers every scan with the same verdict and remembers what it was asked."""

    asked: list[tuple[bytes, dict[str, Any]]] = field(default_factory=list)
    error: Exception | None = None

    async def scan(
        self, octets: bytes, *, client_ip: str, helo: str, mail_from: str, rcpt_to: Sequence[str]
    ) -> dict[str, Any]:
        self.asked.append((octets, {"client_ip": client_ip, "helo": helo, "mail_from": mail_from, "rcpt_to": rcpt_to}))
        if self.error:
            raise self.error
        return {
            "id": "06H0KA497Z54F66G",
            "action": "tag",
            "scl": 5,
            "score": 2.5,
            "probability": 0.92,
            "reply": "250 2.0.0 ok",
            "evidence": [],
            "decided_by": "the score reaches tag_score (2)",
            "contributions": [
                {
                    "check": "content",
                    "text": "spam",
                    "log_odds": 2.5,
                    "clues": [{"text": "text: free", "log_odds": 2.5}],
                }
            ],
            "missing": [{"check": "clamd", "text": "clamd did not answer", "meaning": "judged without it"}],
            "nearest_change": {
                "text": "with a DKIM pass of example.org: accept",
                "action": "accept",
                "changes": ["with a DKIM pass of example.org"],
            },
            "recipients": [{"recipient": name} for name in rcpt_to],
            "unavailable": ["clamd"],
        }


@dataclass
class Side:
    """A running side service.

    Attributes:
        tokens: scope -> plain token that has that scope alone.
    """

    config: Config
    database: Database
    app: FastAPI
    client: TestClient
    upstream: ScriptedUpstream
    scanner: ScriptedScanner
    tokens: dict[str, str]

    def ask(self, method: str, path: str, scope: str | None = "admin", **kwargs: Any) -> Any:
        """The response; with the token of that scope, or none."""
        headers = dict(kwargs.pop("headers", {}))
        if scope is not None:
            headers["Authorization"] = f"Bearer {self.tokens[scope]}"
        return self.client.request(method, path, headers=headers, **kwargs)

    def json(self, method: str, path: str, scope: str = "admin", status: int = 200, **kwargs: Any) -> Any:
        """The JSON of a response that must have this status."""
        response = self.ask(method, path, scope, **kwargs)
        assert response.status_code == status, response.text
        return response.json()


def make_config(folder: Path, **tables: dict[str, Any]) -> Config:
    """A configuration whose state lies in `folder`."""
    data: dict[str, Any] = {"server": {"state_dir": str(folder)}, **tables}
    return parse_config(data, folder)


@cache
def _template() -> Path:
    """A migrated, empty database, made once: copying it is ten times faster."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_database(folder).close()
    return folder / "filterd.db"


@contextmanager
def side_service(folder: Path, config: Config | None = None, *, deliver: bool = False, **kwargs: Any) -> Iterator[Side]:
    """A side service on a new database in `folder`; released copies are delivered only with `deliver`."""
    config = config or make_config(folder)
    if not (folder / "filterd.db").exists():
        shutil.copy(_template(), folder / "filterd.db")
    database = make_database(folder)
    upstream = ScriptedUpstream()
    scanner = ScriptedScanner()
    app = create_app(
        config, database, upstream=upstream, scanner=lambda _config, _database: scanner, deliver=deliver, **kwargs
    )
    made = {scope: tokens.create(database, f"test-{scope}", [scope]) for scope in SCOPES}
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Side(config, database, app, client, upstream, scanner, made)
    database.close()
