"""A single connection to the next hop keeps count of what was asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filterd.adapters.upstream_link import LinkLostError, UpstreamLink, check_authorities
from filterd.config import parse_config
from filterd.deadline import Deadline
from filterd.errors import ConfigError
from tests.support.certificate import write_certificate


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


@pytest.mark.parametrize("name", ["upstream", "dmarc_reports"])
def test_authorities_that_cannot_be_read_are_found_before_a_configuration_is_used(tmp_path: Path, name: str) -> None:
    reports = {"enabled": True, "email": "dmarc@example.org", "host": "127.0.0.1"}
    tables: dict[str, dict[str, object]] = {"upstream": {}, "dmarc_reports": reports}
    tables[name]["tls_ca_file"] = "ca.pem"
    with pytest.raises(ConfigError) as caught:
        check_authorities(parse_config(tables, tmp_path))
    assert caught.value.problems[0].startswith(
        f"{name}.tls_ca_file: {tmp_path / 'ca.pem'} cannot be used: No such file"
    )
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"tls_ca_file: .*; expected certificates in PEM form"):
        check_authorities(parse_config(tables, tmp_path))
    certificate, _ = write_certificate(tmp_path)
    certificate.rename(tmp_path / "ca.pem")
    check_authorities(parse_config(tables, tmp_path))


def test_authorities_that_nobody_asks_are_not_read(tmp_path: Path) -> None:
    check_authorities(parse_config({"upstream": {"tls_ca_file": "ca.pem", "tls": "off"}}, tmp_path))
    check_authorities(parse_config({"dmarc_reports": {"tls_ca_file": "ca.pem"}}, tmp_path))
