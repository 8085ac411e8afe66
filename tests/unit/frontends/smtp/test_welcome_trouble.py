"""What goes wrong before SMTP begins: headers and handshakes in pieces, false, too late, too many, or never."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from filterd.config import ListenerConfig
from filterd.frontends.smtp.welcome import Welcome
from filterd.mail.reply import Reply
from filterd.wire.proxy import ProxyError, ProxyParser
from tests.support.certificate import write_certificate
from tests.support.fakesession import FakeSession, Served
from tests.support.material import conformance_dir
from tests.support.smtpclient import SmtpClient, client_context
from tests.support.stories import run, until

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"
V6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4712 25\r\n"
V2 = SIGNATURE + b"\x21\x11\x00\x0c" + bytes((192, 0, 2, 7, 198, 51, 100, 1)) + (4711).to_bytes(2) + (25).to_bytes(2)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
HERE = ("127.0.0.0/8",)
ELSEWHERE = ("203.0.113.0/24",)


def listener(proxy_from: tuple[str, ...] = HERE, **settings: object) -> ListenerConfig:
    return ListenerConfig.model_validate({"proxy_from": proxy_from, **settings})


def with_tls(folder: Path, proxy_from: tuple[str, ...] = HERE, tls: str = "implicit") -> ListenerConfig:
    certificate, key = write_certificate(folder)
    return listener(proxy_from, tls=tls, tls_certificate=certificate, tls_key=key)


async def in_pieces(client: SmtpClient, octets: bytes, size: int) -> None:
    for at in range(0, len(octets), size):
        await client.send(octets[at : at + size])
        await asyncio.sleep(0.001)


def whole(octets: bytes) -> int:
    return max(len(octets), 1)


def one(octets: bytes) -> int:
    return 1


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("header", "address", "network"), [(V6, "2001:db8::7", "2001:db8::/64"), (V2, "192.0.2.7", "")]
)
@pytest.mark.parametrize("size", [whole, one])
def test_the_client_that_is_named_is_the_one_that_is_counted(
    header: bytes, address: str, network: str, size: Callable[[bytes], int]
) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await in_pieces(client, header, size(header))
        assert (await client.reply()).startswith("220")
        (connection,) = served.session.connections
        assert str(connection.client_ip) == address
        assert connection.network == (network or f"{address}/32")
        assert served.tallies.open["client", connection.network] == 1

    run(story, listeners=[listener()])


def test_what_comes_behind_the_header_is_smtp_and_early() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.send(V1 + b"EHLO x.example\r\n")
        assert (await client.reply()).startswith("220")
        assert (await client.reply()).startswith("250")
        assert served.session.calls[0] == "early"

    run(story, lambda: FakeSession(greet_seconds=50), listeners=[listener()])


def test_published_headers() -> None:
    vectors = json.loads((conformance_dir() / "smtp/proxy-protocol/vectors.json").read_text())
    headers = [bytes.fromhex(vector["wire_hex"]) for kind in ("valid", "invalid") for vector in vectors[kind]]
    assert len(headers) > 20

    async def story(served: Served) -> None:
        for header in headers:
            try:
                found = ProxyParser().feed(header)
            except ProxyError:
                found = None
            client = await SmtpClient.connect(served.port)
            await client.send(header)
            if found:
                assert (await client.reply()).startswith("220")
                connection = served.session.connections[-1]
                own = client.writer.get_extra_info("sockname")[1]
                expected = found.source or (ipaddress.ip_address("127.0.0.1"), own)
                assert (connection.client_ip, connection.client_port) == expected, header
            else:
                assert await client.rest() == b"", header
            await client.close()

    run(story, listeners=[listener()], command_seconds=0.2)


def test_a_header_that_comes_octet_by_octet_gets_no_more_time() -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        for octet in b"PROXY UNKNOWN " + b"x" * 90:
            if client.reader.at_eof() or client.reader.exception():
                break
            await client.offer(bytes([octet]))
            await asyncio.sleep(0.02)
        else:
            pytest.fail("it was read to its end")

    run(story, listeners=[listener()], command_seconds=0.2)


@pytest.mark.parametrize("how", ["vanish", "half_close"])
@pytest.mark.parametrize("sent", [b"", V1[:9], V1])
def test_a_load_balancer_that_leaves(how: str, sent: bytes) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.send(sent)
        await asyncio.sleep(0.01)
        getattr(client, how)()
        if how == "half_close":
            await client.rest()
        good = await SmtpClient.connect(served.port)
        await good.send(V1)
        assert (await good.reply()).startswith("220")

    run(story, listeners=[listener()])


@pytest.mark.parametrize("waits", [False, True])
def test_a_strangers_header_ends_the_connection_where_tls_is_required_too(waits: bool, tmp_path: Path) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        if waits:
            assert (await client.reply()).startswith("220")
        await client.send(V1 + b"EHLO x.example\r\nMAIL FROM:<a@example.org>\r\n")
        lines = (await client.rest()).decode().splitlines()
        assert [line[:9] for line in lines[not waits :]] == ["550 5.7.1"]
        await served.session.closed.wait()
        assert served.session.calls[-1] == "close closed"
        assert not any(call.startswith(("ehlo", "mail")) for call in served.session.calls)

    run(story, listeners=[with_tls(tmp_path, ELSEWHERE, tls="required")])


def test_those_without_a_header_have_a_bound() -> None:
    async def story(served: Served) -> None:
        silent = [await SmtpClient.connect(served.port) for _ in range(3)]
        server = served.handle._server
        assert isinstance(server, Welcome)
        await until(lambda: len(server._guests) == 3, "three wait")
        fourth = await SmtpClient.connect(served.port)
        assert await fourth.rest() == b""
        await silent[0].send(V1)
        assert (await silent[0].reply()).startswith("220")
        fifth = await SmtpClient.connect(served.port)
        await fifth.send(V1)
        assert (await fifth.reply()).startswith("220")

    run(story, listeners=[listener()], connections=3)


# ---------------------------------------------------------------- handshakes


class Handshake:
    """A TLS client whose octets go out as the test wants them."""

    def __init__(self, client: SmtpClient) -> None:
        self._client = client
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = client_context().wrap_bio(self._in, self._out)

    async def shake(self, before: bytes, size: Callable[[bytes], int]) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                octets, before = before + self._out.read(), b""
                await in_pieces(self._client, octets, size(octets))
                self._in.write(await asyncio.wait_for(self._client.reader.read(65_536), 20))
            else:
                break
        await self._client.send(self._out.read())

    async def line(self) -> str:
        while True:
            try:
                return self._tls.read(1000).decode()
            except ssl.SSLWantReadError:
                self._in.write(await asyncio.wait_for(self._client.reader.read(65_536), 20))

    async def command(self, text: str) -> str:
        self._tls.write(text.encode() + b"\r\n")
        await self._client.send(self._out.read())
        return await self.line()


@pytest.mark.parametrize("header", [b"", V1, V2])
@pytest.mark.parametrize("size", [whole, one])
def test_the_handshake_begins_right_behind_the_header(
    tmp_path: Path, header: bytes, size: Callable[[bytes], int]
) -> None:
    async def story(served: Served) -> None:
        tls = Handshake(await SmtpClient.connect(served.port))
        await tls.shake(header, size)
        assert (await tls.line()).startswith("220")
        assert (await tls.command("EHLO x.example")).startswith("250")
        assert (await tls.command("STARTTLS")).startswith("503")
        assert (await tls.command("QUIT")).startswith("221")
        (connection,) = served.session.connections
        assert connection.tls.startswith("TLSv1.3 ")
        assert str(connection.client_ip) == ("192.0.2.7" if header else "127.0.0.1")
        await served.session.closed.wait()
        assert served.session.calls == ["ehlo x.example", "close quit"]

    run(story, listeners=[with_tls(tmp_path, HERE if header else ())])


def test_a_large_message_under_implicit_tls(tmp_path: Path) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port, context=client_context())
        assert (await client.reply()).startswith("220")
        assert "STARTTLS" not in await client.command("EHLO x.example")
        await client.begin()
        await client.send(b"x" * 70 + b"\r\n" + b"y\r\n" * 100_000 + b".\r\n")
        assert await client.reply() == "250 2.0.0 Taken"
        assert len(served.session.messages[0][0]) == 300_072

    run(story, listeners=[with_tls(tmp_path, ())])


@pytest.mark.parametrize("octets", [b"", b"\x16\x03", b"EHLO x.example\r\n", b"\x16\x03\x01\x00\x02xx"])
def test_a_handshake_that_fails_or_does_not_come(tmp_path: Path, octets: bytes) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.send(octets)
        assert b"220" not in await client.rest()
        assert served.session.connections == []
        await until(lambda: not served.tallies.open["connections", ""], "the place is free again")

    run(story, listeners=[with_tls(tmp_path, ())], tls_seconds=0.3)


def test_who_is_not_let_in_is_not_told_in_clear_text(tmp_path: Path) -> None:
    async def story(served: Served) -> None:
        first = await SmtpClient.connect(served.port, context=client_context())
        assert (await first.reply()).startswith("220")
        second = await SmtpClient.connect(served.port)
        assert await second.rest() == b""

    run(story, listeners=[with_tls(tmp_path, ())], connections_per_client=1)


# ---------------------------------------------------------------- the end


def test_drain_lets_go_of_those_who_have_not_begun(tmp_path: Path) -> None:
    async def story(served: Served) -> None:
        client = await SmtpClient.connect(served.port)
        await client.send(V1[:9])
        shaking = await SmtpClient.connect(served.port)
        await shaking.send(V1)
        greeted = await SmtpClient.connect(served.port)
        await Handshake(greeted).shake(V1, whole)
        await until(lambda: served.tallies.open["connections", ""] == 2, "both are in")
        assert await served.handle.drain(0.2) == 0
        assert await client.rest() == b""
        assert await shaking.rest() == b""
        await until(lambda: served.tallies.open["connections", ""] == 0, "nobody is left")

    run(story, listeners=[with_tls(tmp_path)])


@pytest.mark.parametrize("implicit", [False, True])
def test_a_conversation_that_begins_in_the_moment_of_a_drain_ends_without_a_fault(
    implicit: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """uvloop does not tell a connection that is given up so early."""

    async def story(served: Served) -> None:
        async def drain_begins() -> Reply:
            served.handle._server.close()
            await asyncio.sleep(0.01)
            return Reply(220, "", "")

        served.session.answers["connect"] = drain_begins
        client = await SmtpClient.connect(served.port)
        if implicit:
            await Handshake(client).shake(V1, whole)
        else:
            await client.send(V1)
        await served.session.closed.wait()
        assert served.session.calls[-1] in ("close disconnect", "close drain")
        await until(lambda: not any(served.tallies.open.values()), "the place is free again")

    run(story, listeners=[with_tls(tmp_path) if implicit else listener()], idle_seconds=0.5)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_what_is_opened_in_the_moment_of_a_drain_is_not_taken_for_the_listening_socket() -> None:
    """Its number is given away again at once; the event loop must have forgotten it before."""

    async def story(served: Served) -> None:
        loop = asyncio.get_running_loop()
        served.handle._server.close()
        heard = asyncio.Event()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.add_reader(ours, heard.set)
            loop.add_reader(theirs, heard.set)
            await asyncio.sleep(0)
            theirs.send(b"x")
            await asyncio.wait_for(heard.wait(), 20)
            loop.remove_reader(ours)
            loop.remove_reader(theirs)
        server = served.handle._server
        assert isinstance(server, Welcome)
        await until(lambda: server._sock.fileno() < 0, "closed")

    run(story, listeners=[listener()])


def test_bad_connections_leave_nothing_behind(tmp_path: Path) -> None:
    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def bad(port: int, number: int) -> None:
        client = await SmtpClient.connect(port)
        await client.send([b"", b"PROXY x\r\n", V1, V1 + b"EHLO x\r\n", V1[:9], LOCAL][number % 6])
        if number % 4 == 0:
            client.vanish()
        else:
            await client.rest()
        await client.close()

    async def story(served: Served) -> None:
        await bad(served.port, 1)  # libuv keeps a file of its own from the first connection on
        before = files()
        await asyncio.gather(*(bad(served.port, number) for number in range(60)))
        await until(lambda: files() <= before, "files are closed again")
        await until(lambda: not any(served.tallies.open.values()), "places are free again")

    run(story, listeners=[with_tls(tmp_path)], command_seconds=0.3, tls_seconds=0.3, connections_per_client=1000)
