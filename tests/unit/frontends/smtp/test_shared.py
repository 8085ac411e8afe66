"""What is offered, and which listener serves whom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from filterd.config import LimitsConfig, ListenerConfig
from filterd.frontends.smtp.shared import Endpoint, Shared
from filterd.mail.envelope import parse_ip
from filterd.mail.reply import Reply
from tests.support.fakesession import FakeSession, front_end

ALWAYS = {"PIPELINING", "ENHANCEDSTATUSCODES", "CHUNKING"}
LIMITS = LimitsConfig(message_bytes=20_000, recipients=7)


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
    front = front_end(FakeSession(), Path("unused"), LIMITS, upstream_extensions=lambda: upstream)
    offer = Shared(front, ListenerConfig(), LIMITS).offer(False)
    assert offer.max_bytes == size
    assert set(offer.lines) == offered | ALWAYS | {f"SIZE {size}", "LIMITS RCPTMAX=7 MAILMAX=1000"}
    assert offer.keywords == offered | ALWAYS | {"SIZE", "LIMITS"}


def test_an_outbound_listener_offers_what_the_next_mail_server_takes() -> None:
    front = front_end(FakeSession(), Path("unused"), LIMITS, upstream_extensions=lambda: {"SMTPUTF8": ""})
    front.outbound_extensions = lambda: {"8BITMIME": "", "SIZE": "18192"}
    outbound = ListenerConfig(name="out", trust="outbound", sources=("192.0.2.25",))
    offer = Shared(front, outbound, LIMITS).offer(False)
    assert offer.max_bytes == 10_000
    assert offer.keywords & {"8BITMIME", "SMTPUTF8", "DSN"} == {"8BITMIME"}
    assert "SMTPUTF8" in Shared(front, ListenerConfig(), LIMITS).offer(False).keywords


def test_what_helo_and_each_kind_of_client_is_offered() -> None:
    front = front_end(FakeSession(), Path("unused"), LIMITS)
    chain = {"tls_certificate": Path("c"), "tls_key": Path("k")}
    submission = Shared(front, ListenerConfig.model_validate({"auth": True, "tls": "required", **chain}), LIMITS)
    assert submission.offer(True, esmtp=False).lines == ()
    assert "AUTH" not in submission.offer(False).keywords  # never in clear text
    assert "AUTH PLAIN LOGIN" in submission.offer(True).lines
    assert "AUTH" not in submission.offer(True, authenticated=True).keywords
    assert "XCLIENT" in submission.offer(True, xclient=True).keywords
    assert "XCLIENT" not in submission.offer(True).keywords


def listener(name: str, *sources: str) -> ListenerConfig:
    return ListenerConfig(name=name, sources=sources)


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("192.0.2.1", "hosts"),
        ("192.0.2.9", "site"),
        ("10.0.0.1", "everybody"),
        ("2001:db8::5", "site"),
        ("2001:db9::5", "everybody"),
        ("::ffff:192.0.2.1", "hosts"),
    ],
)
def test_the_smallest_network_that_holds_the_client_wins(client: str, name: str) -> None:
    front = front_end(FakeSession(), Path("unused"), LIMITS)
    listeners = [
        listener("everybody"),
        listener("site", "192.0.2.0/24", "2001:db8::/32"),
        listener("hosts", "192.0.2.0/29"),
    ]
    endpoint = Endpoint(front, [Shared(front, each, LIMITS) for each in listeners])
    chosen = endpoint.select(parse_ip(client))
    assert chosen is not None
    assert chosen.listener.name == name


def test_nobody_serves_a_stranger() -> None:
    front = front_end(FakeSession(), Path("unused"), LIMITS)
    endpoint = Endpoint(front, [Shared(front, listener("site", "192.0.2.0/24"), LIMITS)])
    refusal = endpoint.admit(parse_ip("198.51.100.1"), 1)
    assert isinstance(refusal, Reply)
    assert refusal.code == 554
