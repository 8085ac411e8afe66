"""Who may come in, and what is offered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from filterd.config import LimitsConfig, ListenerConfig
from filterd.frontends.smtp.shared import Admission, Shared
from filterd.mail.envelope import parse_ip
from tests.support.fakesession import FakeSession

ONE, TWO = parse_ip("192.0.2.1"), parse_ip("2001:db8::1")


def test_admission_counts_and_forgets() -> None:
    admission = Admission(LimitsConfig(connections=3, connections_per_client=2))
    assert admission.enter(ONE) is None
    assert admission.enter(ONE) is None
    refusal = admission.enter(ONE)
    assert refusal is not None
    assert refusal.code == 421
    assert admission.enter(TWO) is None
    assert admission.enter(parse_ip("192.0.2.9")) is not None
    for client in (ONE, ONE, TWO):
        admission.leave(client)
    assert (admission.count, admission.refused) == (0, 2)
    assert not admission._clients


@pytest.mark.parametrize(
    ("upstream", "size", "offered"),
    [
        (None, 2000, {"8BITMIME", "DSN", "SMTPUTF8"}),
        ({}, 2000, set()),
        ({"SIZE": "1500", "DSN": ""}, 1500, {"DSN"}),
        ({"SIZE": "0"}, 2000, set()),
        ({"SIZE": ""}, 2000, set()),
        ({"SIZE": "9" * 400}, 2000, set()),
        ({"SIZE": "\u0663"}, 2000, set()),
    ],
)
def test_what_is_offered_is_what_both_sides_can(
    upstream: Mapping[str, str] | None, size: int, offered: set[str]
) -> None:
    async def main() -> None:
        limits = LimitsConfig(message_bytes=2000)
        shared = Shared(
            ListenerConfig(),
            limits,
            "h.example",
            FakeSession(),
            Path("unused"),
            Admission(limits),
            upstream_extensions=lambda: upstream,
        )
        assert shared.max_bytes == size
        assert set(shared.extensions(False)) == offered | {"PIPELINING", "ENHANCEDSTATUSCODES", f"SIZE {size}"}

    asyncio.run(main())
