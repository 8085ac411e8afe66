"""A listener starts with a usable certificate or says which key is wrong; a real client gets its mail through."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filterd.config import ListenerConfig
from filterd.errors import ConfigError
from filterd.frontends.smtp.tls import server_context
from tests.support.certificate import write_certificate
from tests.support.fakesession import serving


def test_a_bad_certificate_names_the_keys(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    assert server_context(ListenerConfig()) is None
    assert server_context(ListenerConfig(tls_certificate=certificate, tls_key=key)) is not None
    for bad in (tmp_path / "missing.pem", certificate):
        with pytest.raises(ConfigError, match="listeners \\(internet\\): tls_certificate and tls_key"):
            server_context(ListenerConfig(tls_certificate=certificate, tls_key=bad))


def test_a_certificate_that_cannot_be_used_leaves_the_old_one(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)

    async def main() -> None:
        async with serving(certificate=(certificate, key)) as served:
            (before,) = served.handle.endpoint.listeners
            with pytest.raises(ConfigError):
                served.handle.reload([(ListenerConfig(tls_certificate=key, tls_key=key), before.limits)])
            assert served.handle.endpoint.listeners == (before,)
            served.handle.reload([(ListenerConfig(tls_certificate=certificate, tls_key=key), before.limits)])
            assert served.handle.endpoint.listeners[0].tls is not before.tls

    asyncio.run(main())


@pytest.mark.server("swaks")
@pytest.mark.parametrize("options", [[], ["--pipeline"], ["-tls"], ["--protocol", "SMTP"]])
def test_swaks(tmp_path: Path, options: list[str]) -> None:
    async def main() -> None:
        async with serving(certificate=write_certificate(tmp_path)) as served:
            process = await asyncio.create_subprocess_exec(
                "swaks",
                *["--server", f"127.0.0.1:{served.port}", "--helo", "swaks.example.org", "--body", ".dot\n..dots\nend"],
                *["--from", "sender@example.org", "--to", "alice@example.com,bob@example.com", *options],
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 0, output.decode()
            ((octets, refusal),) = served.session.messages
            assert refusal is None
            assert octets.rstrip().endswith(b"\r\n.dot\r\n..dots\r\nend")
            await served.session.closed.wait()
            assert served.session.calls[-1] == "close quit"

    asyncio.run(main())
