"""A single connection to the next hop keeps count of what was asked."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from filterd.adapters.upstream_link import LinkLostError, UpstreamLink, open_link
from filterd.config import UpstreamConfig
from filterd.deadline import Deadline


def test_a_greeting_that_comes_before_anybody_waits_is_no_surprise() -> None:
    async def main() -> None:
        link = UpstreamLink()
        link.data_received(b"220 early\r\n")
        assert (await link.answer(Deadline.after(1))).code == 220
        assert link.is_usable

    asyncio.run(main())


def test_a_second_greeting_is_one_too_many() -> None:
    async def main() -> None:
        link = UpstreamLink()
        link.data_received(b"220 one\r\n220 two\r\n")
        assert (await link.answer(Deadline.after(1))).code == 220
        with pytest.raises(LinkLostError, match="unasked"):
            await link.answer(Deadline.after(1))

    asyncio.run(main())


def test_an_unasked_refusal_is_kept_to_be_reported() -> None:
    async def main() -> None:
        link = UpstreamLink()
        link.data_received(b"220 hi\r\n")
        await link.answer(Deadline.after(1))
        link.data_received(b"421 4.3.2 going down\r\n")
        assert not link.is_usable
        assert link.refusal is not None
        assert str(link.refusal) == "421 4.3.2 going down"

    asyncio.run(main())


def test_silence_has_an_end() -> None:
    async def main() -> None:
        with pytest.raises(LinkLostError, match="in time") as error:
            await UpstreamLink().answer(Deadline.after(0.01))
        assert error.value.timeout

    asyncio.run(main())


@pytest.mark.parametrize("host", ["mail..example", "a" * 64 + ".example"])
def test_a_name_that_no_server_can_have_is_an_unreachable_server(host: str) -> None:
    for runner in (asyncio.run, uvloop.run):
        with pytest.raises(LinkLostError, match="cannot connect to upstream: "):
            runner(open_link(UpstreamConfig(host=host), "filter.example.org", None, Deadline.after(30)))
