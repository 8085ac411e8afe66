"""What each socket's listeners are, and how many files a worker may open."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from filterd.config import Config, parse_config
from filterd.worker import allow_files, listeners_of

ONE: dict[str, Any] = {"name": "one", "port": 2525}


def config(*listeners: dict[str, Any], **tables: Any) -> Config:
    return parse_config({"listeners": list(listeners), **tables}, Path("/nowhere"))


def test_listeners_of_one_port_are_one_group_with_limits_of_their_own() -> None:
    groups = listeners_of(
        config(
            ONE,
            {"name": "two", "port": 2526},
            {"name": "three", "port": 2525, "sources": ["10.0.0.0/8"], "limits": {"recipients": 5}},
            limits={"recipients": 50},
        )
    )
    shown = [[(listener.name, limits.recipients) for listener, limits in group] for group in groups]
    assert shown == [[("one", 50), ("three", 5)], [("two", 50)]]


def test_a_worker_may_open_as_many_files_as_the_machine_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        allow_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
