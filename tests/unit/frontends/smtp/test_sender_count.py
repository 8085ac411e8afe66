"""How many messages of one reverse-path may be on their way at once."""

from __future__ import annotations

import asyncio

import pytest

from filterd.config import ClientsConfig, ListenerConfig
from tests.support.fakesession import serving
from tests.support.smtpclient import SmtpClient

TWO = ClientsConfig(connections_per_minute=0, sender_transactions=2)


@pytest.mark.parametrize("ending", ["RSET", "EHLO again.example", "QUIT", "DATA", "vanish"])
def test_a_third_one_waits_until_one_is_over(ending: str) -> None:
    async def main() -> None:
        async with serving(clients=TWO) as served:
            first, second, third = [await SmtpClient.greeted(served.port) for _ in range(3)]
            for client in (first, second):
                assert (await client.command("MAIL FROM:<news@example.org>")).startswith("250")
            assert (await third.command("MAIL FROM:<News@EXAMPLE.org>")).startswith("450 4.7.1")
            assert (await third.command("MAIL FROM:<other@example.org>")).startswith("250")
            await third.command("RSET")
            assert (await third.command("MAIL FROM:<>")).startswith("250")
            await third.command("RSET")
            if ending == "vanish":
                first.vanish()
                await served.session.closed.wait()
            elif ending == "DATA":
                await first.command("RCPT TO:<bob@example.com>")
                await first.command("DATA")
                await first.send(b"x\r\n.\r\n")
                await first.reply()
            else:
                await first.command(ending)
            assert (await third.command("MAIL FROM:<news@example.org>")).startswith("250")

    asyncio.run(main())


def test_a_transaction_after_one_without_recipients_is_counted_once() -> None:
    async def main() -> None:
        async with serving(clients=TWO) as served:
            client = await SmtpClient.greeted(served.port)
            for _ in range(5):
                await client.command("MAIL FROM:<a@example.org>")
                await client.command("DATA")  # refused: no recipients; MAIL may follow
            assert served.tallies.open["open-sender", "127.0.0.1/32 a@example.org"] == 1

    asyncio.run(main())


def test_our_own_machines_are_not_counted() -> None:
    async def main() -> None:
        async with serving(clients=TWO, listeners=[ListenerConfig(trust="internal")]) as served:
            for _ in range(4):
                client = await SmtpClient.greeted(served.port)
                assert (await client.command("MAIL FROM:<scanner@example.org>")).startswith("250")

    asyncio.run(main())
