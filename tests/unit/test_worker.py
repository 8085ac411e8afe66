"""What a reload may change, and what each socket's listeners are."""

from __future__ import annotations

import logging
import resource
from pathlib import Path
from typing import Any

import pytest

from filterd.config import Config, parse_config
from filterd.worker import allow_files, listeners_of, reloadable

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


@pytest.mark.parametrize(
    "changed",
    [
        {"sources": ["10.0.0.0/8"]},
        {"trust": "internal"},
        {"limits": {"recipients": 5}},
        {"protocol_log": "all"},
        {"tls_certificate": "c", "tls_key": "k"},
    ],
)
def test_what_a_listener_may_change_while_running(changed: dict[str, Any]) -> None:
    fresh = config({**ONE, **changed})
    assert reloadable(fresh, config(ONE)) == fresh


@pytest.mark.parametrize(
    "changed",
    [
        {"port": 2600},
        {"address": "127.0.0.9"},
        {"proxy_from": ["10.0.0.1"]},
        {"tls": "implicit", "tls_certificate": "c", "tls_key": "k"},
    ],
)
def test_what_needs_a_restart_is_said_and_left(changed: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    old = config(ONE)
    with caplog.at_level(logging.WARNING):
        used = reloadable(config({**ONE, **changed}, policy={"tag_score": 1.0}), old)
    assert used.listeners == old.listeners
    assert used.policy.tag_score == 1.0  # the rest is taken over
    assert "need a restart" in caplog.text


def test_a_worker_may_open_as_many_files_as_the_machine_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        allow_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
