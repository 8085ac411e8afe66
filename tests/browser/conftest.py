"""Owns the browser, and the side service that its pages come from.  Not part of the product."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import delete

from api.auth import FailureLimiter
from api.http11 import HeadDeadline
from api.services import ADDIN_REPORTS
from filterd.ports import TerminalState
from filterd.storage import schema as tables
from tests.conftest import server_binary
from tests.support.certificate import write_certificate
from tests.support.exchange_token import exchange
from tests.support.sideservice import Side, make_config, side_service
from tests.support.storage import keep, message

HOST = "filter.example.org"
SITE = f"https://{HOST}"
NAME = "<7@example.com>"
OFFICE = Path(__file__).with_name("office.js").read_text()
TOO_LONG_MS = (
    90_000  # for anything a page or the browser is waited for; nothing takes a second but on a machine with other work
)


@dataclass
class Stage:
    """A page in the browser.

    Attributes:
        faults: what the browser complained of: script errors, and what the page's policy forbids.
        failing: whether requests fail in this test, so that the browser's complaints of that are none.
    """

    page: Page
    side: Side
    faults: list[str] = field(default_factory=list)
    failing: bool = False

    def open(self, url: str = f"{SITE}/addin/report.html", **outlook: Any) -> Page:
        """Load the page in an Outlook with these values, see office.js; by default Anna reads the message that she got."""
        values = {
            "token": exchange().token(f"{SITE}/addin/report.html"),
            "message": NAME,
            "address": "anna@example.net",
            **outlook,
        }
        self.page.add_init_script(f"window.stage = {json.dumps(values)};")
        self.page.goto(url)
        return self.page


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, int]]:
    """The side service as a reverse proxy with TLS shows it, and its port; Anna and Bob got a message."""
    folder = tmp_path_factory.mktemp("addin")
    given = {"public_url": SITE, "exchange_certificate": str(exchange().write(folder))}
    config = make_config(folder, reports=given, recipients={"accepted_domains": ["example.net"]})
    with side_service(folder, config) as side:
        keep(
            side.database,
            message("anna@example.net", "bob@example.net", message_id=NAME),
            state=TerminalState.FORWARDED,
        )
        with _listening(side, folder) as port:
            yield side, port


@contextmanager
def _listening(side: Side, folder: Path) -> Iterator[int]:
    certificate, key = write_certificate(folder / "tls", HOST)
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            side.app,
            http=HeadDeadline,
            ws="none",
            lifespan="off",
            log_config=None,
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        yield int(sock.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()


@pytest.fixture(scope="module")
def browser(served: tuple[Side, int]) -> Iterator[Browser]:
    """A browser for which every host is the side service: nothing leaves this machine.

    Its driver runs an event loop in this thread: it ends with the module, and whatever needs a loop of its own comes before it.
    """
    rules = f"MAP * 127.0.0.1:{served[1]}"
    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=server_binary("chromium"),
            args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules={rules}"],
            timeout=TOO_LONG_MS,
        )
        yield started
        started.close()


@pytest.fixture
def stage(browser: Browser, served: tuple[Side, int]) -> Iterator[Stage]:
    """A new window, nothing reported yet; at the end the browser must have complained of nothing."""
    side, _ = served
    with side.database.write() as connection:
        connection.execute(delete(tables.reports))
        connection.execute(delete(tables.addin_users))
    services = side.app.state.services
    services.addin_reports, services.wrong_identities = FailureLimiter(most=ADDIN_REPORTS), FailureLimiter()
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 640, "height": 300}, locale="en-US")
    context.set_default_timeout(TOO_LONG_MS)
    context.route(
        "https://appsforoffice.microsoft.com/**",
        lambda route: route.fulfill(body=OFFICE, content_type="text/javascript"),
    )
    page = context.new_page()
    made = Stage(page, side)
    page.on("pageerror", lambda error: made.faults.append(str(error)))
    page.on("console", lambda line: made.faults.append(line.text) if line.type == "error" else None)
    yield made
    context.close()
    assert [fault for fault in made.faults if not (made.failing and "Failed to load resource" in fault)] == []
