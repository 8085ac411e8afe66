"""The next mail server and the keys of outbound mail, as doctor sees them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filterd.config import Config, parse_config
from filterd.deadline import Deadline
from filterd.doctor.finding import Level
from filterd.doctor.outbound import key_finding, look, server_finding
from tests.support.arc import keys, signer
from tests.support.daemon import free_port
from tests.support.dns import MapResolver
from tests.support.fakeupstream import FakeUpstream
from tests.support.keys import rsa_key

KEY = ("s1._domainkey.example.org", "TXT")
RECORD = keys("example.org")[KEY][0]


@pytest.mark.parametrize(
    ("records", "level", "text"),
    [
        ([RECORD], Level.OK, "has our rsa key"),
        ([RECORD.replace("k=rsa", "k=rsa; t=y")], Level.WARN, "t=y"),
        ([RECORD, RECORD], Level.FAIL, "has 2 records"),
        ([rsa_key(2048)[1]], Level.FAIL, "is of another key"),
        (["v=DKIM1; p="], Level.FAIL, "cannot be used: key is revoked"),
        ([], Level.FAIL, "has no record"),
    ],
)
def test_a_key(records: list[str], level: Level, text: str) -> None:
    table = {KEY: records} if records else {}
    found = asyncio.run(key_finding(signer("example.org"), MapResolver(table), Deadline.after(5)))
    assert (found.level, text in found.text) == (level, True), found
    assert bool(found.remedy) == (level is not Level.OK)


def test_a_missing_record_is_given_to_paste() -> None:
    found = asyncio.run(key_finding(signer("example.org"), MapResolver({}), Deadline.after(5)))
    assert found.remedy == f"publish: s1._domainkey.example.org. IN TXT {RECORD}"


def test_dns_that_does_not_answer_is_no_fault_of_the_key() -> None:
    resolver = MapResolver({}, {"s1._domainkey.example.org"})
    assert asyncio.run(key_finding(signer("example.org"), resolver, Deadline.after(5))).level is Level.WARN


def config(port: int, **more: object) -> Config:
    listener = {"name": "out", "trust": "outbound", "sources": ["192.0.2.25"]}
    table = {"listeners": [listener], "outbound": {"host": "127.0.0.1", "port": port, **more}}
    return parse_config(table, Path("unused"))


@pytest.mark.parametrize(
    ("extensions", "level", "text"),
    [
        (("8BITMIME", "DSN", "SMTPUTF8"), Level.OK, "it answers"),
        (("8BITMIME",), Level.OK, "does not offer DSN, SMTPUTF8"),
        (("SIZE 1000",), Level.WARN, "it takes 1000 octets"),
    ],
)
def test_the_next_server(extensions: tuple[str, ...], level: Level, text: str) -> None:
    async def scene() -> tuple[Level, str]:
        async with FakeUpstream(extensions=extensions) as server:
            found = await server_finding(config(server.port), Deadline.after(10))
        return found.level, found.text

    found = asyncio.run(scene())
    assert found[0] is level
    assert text in found[1]


def test_a_server_that_is_not_there() -> None:
    found = asyncio.run(server_finding(config(free_port()), Deadline.after(10)))
    assert (found.level, "waits at Exchange" in found.remedy) == (Level.FAIL, True)


def test_without_outbound_mail_nothing_is_looked_at() -> None:
    assert asyncio.run(look(Config(), Deadline.after(5))) == []


def test_a_key_that_cannot_be_read_and_none_at_all(tmp_path: Path) -> None:
    keyless = config(free_port())
    assert [item.level for item in asyncio.run(look(keyless, Deadline.after(10)))] == [Level.FAIL, Level.WARN]
    gone = parse_config(
        {"outbound": {"host": "127.0.0.1", "dkim": [{"domain": "example.org", "key_file": "k"}]}}, tmp_path
    )
    *_, found = asyncio.run(look(gone, Deadline.after(10)))
    assert (found.level, "outbound.dkim[0].key_file" in found.text) == (Level.FAIL, True)
    assert "mail of example.org is deferred" in found.remedy
