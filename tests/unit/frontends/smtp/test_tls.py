"""Certificates of both kinds, session tickets, and what cannot be used; OpenSSL's own client is the judge."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

import pytest
import uvloop

from filterd.config import ListenerConfig
from filterd.errors import ConfigError
from filterd.frontends.smtp.tls import server_context
from tests.support.certificate import write_certificate
from tests.support.fakesession import Served, serving
from tests.support.smtpclient import SmtpClient

SECONDS = 60


def both(folder: Path) -> ListenerConfig:
    """A listener with an ECDSA and an RSA certificate."""
    chain, key = write_certificate(folder / "ec")
    rsa_chain, rsa_key = write_certificate(folder / "rsa", use_rsa=True)
    return ListenerConfig(tls_certificate=chain, tls_key=key, tls_rsa_certificate=rsa_chain, tls_rsa_key=rsa_key)


async def openssl(port: int, *options: str) -> str:
    """What `openssl s_client` says about a STARTTLS handshake, and the replies to EHLO and QUIT."""
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-starttls", "smtp", "-crlf", "-connect", f"127.0.0.1:{port}", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    output = b""
    async with asyncio.timeout(SECONDS):
        # Tickets of TLS 1.3 come behind the handshake: leave only after an answer has been read.
        process.stdin.write(b"EHLO openssl.example\n")
        while b"LIMITS" not in output and (line := await process.stdout.readline()):
            output += line
        process.stdin.write(b"quit\n")
        output += await process.stdout.read()
        await process.wait()
    return output.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("options", "signature"),
    [
        ((), "ECDSA"),
        (("-tls1_2",), "ECDSA"),
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"), "ECDSA"),  # ours first
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), "RSA"),
        (("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"), "RSA"),
        (("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"), "ECDSA"),
    ],
)
def test_ecdsa_first_and_rsa_for_who_knows_nothing_else(
    tmp_path: Path, options: tuple[str, ...], signature: str
) -> None:
    async def main() -> None:
        async with serving(listeners=[both(tmp_path)]) as served:
            output = await openssl(served.port, *options)
            found = re.search(r"Peer signature type: (\S+)", output)
            assert found is not None, output
            assert found[1].startswith(signature), output

    uvloop.run(main())


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_ticket_is_taken_up_again(tmp_path: Path, version: str) -> None:
    async def main() -> None:
        async with serving(listeners=[both(tmp_path)]) as served:
            ticket = tmp_path / "ticket"
            first = await openssl(served.port, version, "-sess_out", str(ticket))
            assert "New, TLSv1" in first
            again = await openssl(served.port, version, "-sess_in", str(ticket))
            assert "Reused, TLSv1" in again, again

    asyncio.run(main())
    uvloop.run(main())


def test_old_versions_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(listeners=[both(tmp_path)]) as served:
            output = await openssl(served.port, "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0")
            assert "Cipher is (NONE)" in output

    asyncio.run(main())


def test_a_key_with_a_pass_phrase_asks_nobody(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, password=b"phrase")
    with pytest.raises(ConfigError, match=r"listeners \(internet\): tls_certificate and tls_key: .*without a pass"):
        server_context(ListenerConfig(tls_certificate=chain, tls_key=key))


def test_the_second_certificate_is_named_too(tmp_path: Path) -> None:
    listener = both(tmp_path)
    bad = listener.model_copy(update={"tls_rsa_key": tmp_path / "none.pem"})
    with pytest.raises(ConfigError, match="tls_rsa_certificate and tls_rsa_key"):
        server_context(bad)


def test_none_offers_none(tmp_path: Path) -> None:
    assert server_context(both(tmp_path).model_copy(update={"tls": "none"})) is None


def test_a_reload_shows_the_new_certificate_and_keeps_open_connections(tmp_path: Path) -> None:
    async def subject(served: Served) -> tuple[SmtpClient, bytes]:
        client = await SmtpClient.greeted(served.port)
        await client.starttls()
        tls: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True)
        assert shown is not None
        return client, shown

    async def main() -> None:
        first, key = write_certificate(tmp_path / "1")
        async with serving(listeners=[ListenerConfig(tls_certificate=first, tls_key=key)]) as served:
            client, before = await subject(served)
            second, key = write_certificate(tmp_path / "2")
            limits = served.handle.endpoint.listeners[0].limits
            served.handle.reload([(ListenerConfig(tls_certificate=second, tls_key=key), limits)])
            _, after = await subject(served)
            assert after != before
            assert (await client.command("EHLO still.example")).startswith("250")
            await client.begin()
            await client.send(b"x\r\n.\r\n")
            assert (await client.reply()).startswith("250 2.0.0 Taken")

    asyncio.run(main())
    uvloop.run(main())
