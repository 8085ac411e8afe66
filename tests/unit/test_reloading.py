"""What a reload may change while the parts run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from filterd.config import Config, parse_config
from filterd.reloading import reloadable

ONE: dict[str, Any] = {"name": "one", "port": 2525}


def config(*listeners: dict[str, Any], **tables: Any) -> Config:
    return parse_config({"listeners": list(listeners), **tables}, Path("/nowhere"))


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
