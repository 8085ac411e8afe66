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
        (None, 20_000, {"8BITMIME", "DSN"}),
        ({}, 20_000, set()),
        ({"SMTPUTF8": "", "DSN": ""}, 20_000, {"SMTPUTF8", "DSN"}),
        # Our own fields must still fit into what upstream takes.
        ({"SIZE": "20000", "DSN": ""}, 11_808, {"DSN"}),
        ({"SIZE": "28191"}, 19_999, set()),
        ({"SIZE": "28193"}, 20_000, set()),
        ({"SIZE": "100"}, 1, set()),
        ({"SIZE": "0"}, 20_000, set()),
        ({"SIZE": ""}, 20_000, set()),
        ({"SIZE": "9" * 5000}, 20_000, set()),
        ({"SIZE": "\u0663"}, 20_000, set()),
    ],
)
def test_what_is_offered_is_what_both_sides_can(
    upstream: Mapping[str, str] | None, size: int, offered: set[str]
) -> None:
    async def main() -> None:
        limits = LimitsConfig(message_bytes=20_000)
        shared = Shared(
            ListenerConfig(),
            limits,
            "h.example",
            FakeSession(),
            Path("unused"),
            Admission(limits),
            upstream_extensions=lambda: upstream,
        )
        offer = shared.offer(False)
        assert offer.max_bytes == size
        assert set(offer.lines) == offered | {"PIPELINING", "ENHANCEDSTATUSCODES", f"SIZE {size}"}
        assert offer.keywords == offered | {"PIPELINING", "ENHANCEDSTATUSCODES", "SIZE"}

    asyncio.run(main())
