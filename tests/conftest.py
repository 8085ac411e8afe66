"""Owns what all tests share: when a real server may be missing, and how hypothesis runs.  Not part of the product."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

_ROOT_ONLY = ("postfix", "samba")  # the second takes the ports of a domain controller, which are below 1024
# Debian keeps the programs of each version of PostgreSQL in a folder of its own.
_POSTGRES = sorted(map(str, Path("/usr/lib/postgresql").glob("[1-9][0-9]/bin")), reverse=True)
# Many tests start filterd as a process of its own.  Where the environment forbids bytecode (images of containers often do),
# each of these would compile every module of ours again: a third of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_SERVER_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *_POSTGRES))

# No deadline per example: the machine is shared with other tests (growth tests measure time, and they do it by ratio).
# In CI the examples are the same every time, so that a change is judged by the change alone.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def server_binary(name: str) -> str | None:
    """Path of a program that may lie in an sbin folder, or None."""
    return shutil.which(name, path=_SERVER_PATH)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.server("postfix", "swaks")`: skip by name when a program is missing; with CI=true that is a failure.

    Some servers count as missing without root: only root can start them.
    """
    for mark in item.iter_markers("server"):
        missing = [name for name in mark.args if server_binary(name) is None]
        if not missing and os.geteuid() != 0:
            missing = [f"{name} (only root can start it)" for name in mark.args if name in _ROOT_ONLY]
        if not mark.args:
            pytest.fail("the marker server needs the names of the programs", pytrace=False)
        if missing:
            text = f"real servers are missing: {', '.join(missing)} (make test installs tests/servers.txt as root)"
            pytest.fail(text, pytrace=False) if os.environ.get("CI") == "true" else pytest.skip(text)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all tests of this process, from the first that asks; whoever does is marked server("postgres")."""
    from tests.support import postgres as support

    with support.postgres() as server:
        yield server


@pytest.fixture(autouse=True)
def _same_logging() -> Iterator[None]:
    """What a command sets for its process (`filterd scan` is silent) must not reach the tests after it."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
