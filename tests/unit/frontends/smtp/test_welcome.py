"""PROXY headers before SMTP and before TLS: who the client is, and who may say so."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from filterd.config import ListenerConfig
from tests.support.certificate import write_certificate
from tests.support.daemon import wait_until
from tests.support.fakesession import Served, serving
from tests.support.smtpclient import SmtpClient

V1 = b"PROXY TCP4 192.0.2.77 198.51.100.1 4444 25\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = socket.inet_aton("192.0.2.77") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 4444, 25)
V2 = SIGNATURE + b"\x21\x11" + struct.pack("!H", len(ADDRESSES)) + ADDRESSES
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
BALANCED = ListenerConfig(proxy_from=("127.0.0.0/8",))


def run(story: Callable[[Served], Awaitable[None]], *listeners: ListenerConfig, **limits: object) -> None:
    """On both event loops."""

    async def main() -> None:
        async with serving(listeners=listeners or [BALANCED], **limits) as served:
            await asyncio.wait_for(story(served), 60)

    asyncio.run(main())
    uvloop.run(main())


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("single", [False, True])
def test_the_client_is_whom_the_balancer_names(header: bytes, single: bool) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        for piece in [header[n : n + 1] for n in range(len(header))] if single else [header]:
            await client.send(piece)
        assert (await client.reply()).startswith("220")
        assert (await client.command("EHLO client.example.org")).startswith("250")
        await client.begin()
        await client.send(b"x\r\n.\r\n")
        assert (await client.reply()).startswith("250 2.0.0 Taken")
        (connection,) = served.session.connections
        assert (str(connection.client_ip), connection.client_port) == ("192.0.2.77", 4444)
        assert connection.network == "192.0.2.77/32"
        assert "early" not in served.session.calls  # the header is no word of the client

    run(story)


def test_a_balancer_that_looks_after_us_is_itself() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.send(LOCAL)
        assert (await client.reply()).startswith("220")
        assert str(served.session.connections[0].client_ip) == "127.0.0.1"

    run(story)


@pytest.mark.parametrize("header", [V1, V2, LOCAL], ids=["v1", "v2", "local"])
def test_the_handshake_may_stand_in_the_same_segment(tmp_path: Path, header: bytes) -> None:
    certificate, key = write_certificate(tmp_path)
    listener = ListenerConfig(proxy_from=("127.0.0.1",), tls="implicit", tls_certificate=certificate, tls_key=key)

    def talk(port: int) -> list[bytes]:
        context = ssl.create_default_context(cafile=certificate)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        lines = []
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            sock.sendall(header + outgoing.read())  # header and ClientHello at once
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    incoming.write(sock.recv(65536))
            sock.sendall(outgoing.read())
            while not lines or not lines[-1].startswith(b"221"):
                try:
                    lines += tls.read(65536).splitlines()
                except ssl.SSLWantReadError:
                    incoming.write(sock.recv(65536))
                    continue
                tls.write(b"QUIT\r\n")
                sock.sendall(outgoing.read())
        return lines

    async def story(served: Served) -> None:
        lines = await asyncio.to_thread(talk, served.port)
        assert [line[:3] for line in lines] == [b"220", b"221"]
        (connection,) = served.session.connections
        assert connection.tls.startswith("TLSv1.3 ")

    run(story, listener)


@pytest.mark.parametrize(
    "said",
    [b"EHLO client.example.org\r\n", b"PROXY TCP4 192.0.2.77\r\n", SIGNATURE + b"\x31\x11\0\0", b"PROXY " + b"x" * 200],
)
def test_what_is_no_header_ends_without_a_word(said: bytes) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.send(said)
        assert await client.rest() == b""
        assert served.session.connections == []

    run(story)


def test_a_header_that_never_comes_is_not_awaited_for_ever() -> None:
    async def story(served: Served) -> None:
        silent, slow = await SmtpClient.connect(served.port), await SmtpClient.connect(served.port)
        await slow.send(V1[:10])
        assert await silent.rest() == b""
        assert await slow.rest() == b""

    run(story, command_seconds=0.2)


@pytest.mark.parametrize(("header", "answer"), [(V1, b"550 5.7.1 "), (V2, b"500 5.5")], ids=["v1", "v2"])
def test_nobody_else_chooses_his_own_address(header: bytes, answer: bytes) -> None:
    elsewhere = ListenerConfig(proxy_from=("198.51.100.0/24",))

    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.send(header)
        greeting, *rest = (await client.rest()).splitlines()
        assert greeting.startswith(b"220")
        assert rest[-1].startswith(answer)
        assert str(served.session.connections[0].client_ip) == "127.0.0.1"

    run(story, elsewhere)
    run(story, ListenerConfig())


def test_listeners_are_chosen_by_the_client_behind_the_balancer() -> None:
    site = ListenerConfig(name="site", proxy_from=("127.0.0.0/8",), sources=("192.0.2.0/24",), trust="internal")

    async def story(served: Served) -> None:
        inside, outside = await SmtpClient.connect(served.port), await SmtpClient.connect(served.port)
        await inside.send(V1)
        assert (await inside.reply()).startswith("220")
        assert served.session.connections[-1].listener == "site"
        await outside.send(V1.replace(b"192.0.2.77", b"203.0.113.1"))
        assert (await outside.rest()).startswith(b"554 5.7.1 ")

    run(story, site)


def test_places_are_counted_for_the_client_not_for_the_balancer() -> None:
    async def story(served: Served) -> None:
        clients = []
        for number in (1, 2, 3):
            clients.append(await SmtpClient.connect(served.port))
            await clients[-1].send(V1.replace(b"192.0.2.77", b"192.0.2.%d" % number))
            assert (await clients[-1].reply()).startswith("220")
        again = await SmtpClient.connect(served.port)
        await again.send(V1.replace(b"192.0.2.77", b"192.0.2.1"))
        assert (await again.rest()).startswith(b"421 4.7.0 ")

    run(story, connections_per_client=1)


def test_drain_does_not_wait_for_a_header() -> None:
    async def story(served: Served) -> None:
        silent = await SmtpClient.connect(served.port)
        greeted = await SmtpClient.connect(served.port)
        await greeted.send(V1)
        await greeted.reply()
        assert await served.handle.drain(5) == 0
        assert (await greeted.rest()).startswith(b"421 4.3.2 ")
        assert await silent.rest() == b""

    run(story)


def test_no_file_is_left_open() -> None:
    async def story(served: Served) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(30):
            client = await SmtpClient.connect(served.port)
            if number % 3 == 0:
                client.vanish()
                continue
            await client.send(b"nonsense\r\n" if number % 3 == 1 else V1[:9])
            if number % 3 == 1:
                await client.rest()
            await client.close()
        # libuv keeps one in reserve for itself
        await asyncio.to_thread(
            wait_until, lambda: len(os.listdir("/proc/self/fd")) <= before + 2, 20, "the files to be closed"
        )

    run(story)
