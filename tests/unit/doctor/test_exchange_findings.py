"""What is said of a receive connector at the edges: nothing good is called bad, and nothing that was not seen is called good."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from filterd.adapters.exchange_probe import Answer, Seen
from filterd.config import (
    CallAheadConfig,
    Config,
    LdapConfig,
    ListenerConfig,
    PushConfig,
    RecipientsConfig,
    UpstreamConfig,
)
from filterd.deadline import Deadline
from filterd.doctor import exchange
from filterd.doctor.finding import Finding, Level
from filterd.mail.reply import Reply
from tests.support.authority import DAY, Authority
from tests.unit.doctor.test_exchange import ASKED, HOP, REFUSED, TAKEN, configuration, good, judge

LATER = Answer(Reply(452, "4.3.1", "Insufficient system resources"), 0.01)
SILENT = Answer(None, 20.0, "no answer in time")


def said(found: list[Finding], about: str) -> Finding:
    (line,) = [line for line in found if line.what.endswith(f", {about}")]
    return line


def of(tmp_path: Path, about: str, **changes: object) -> Finding:
    return said(judge_with(tmp_path, HOP, changes), about)


def judge_with(tmp_path: Path, hop: UpstreamConfig, changes: Mapping[str, object]) -> list[Finding]:
    seen = good(tmp_path)
    for name, value in changes.items():
        setattr(seen, name, value)
    return judge(tmp_path, seen, hop)


# ------------------------------------------------------------ EHLO and SIZE


@pytest.mark.parametrize(
    ("keyword", "switch"),
    [
        ("PIPELINING", "-PipeliningEnabled $true"),
        ("CHUNKING", "-ChunkingEnabled $true"),
        ("8BITMIME", "-EightBitMimeEnabled $true"),
        ("ENHANCEDSTATUSCODES", "-EnhancedStatusCodesEnabled $true"),
    ],
)
def test_what_is_not_offered_has_its_switch(tmp_path: Path, keyword: str, switch: str) -> None:
    seen = good(tmp_path)
    del seen.extensions[keyword]
    line = said(judge(tmp_path, seen), "EHLO")
    assert line.text == f"mail.example.org does not offer {keyword}"
    assert line.remedy == f"Set-ReceiveConnector … {switch}"
    seen.extensions.clear()
    remedy = said(judge(tmp_path, seen), "EHLO").remedy
    assert switch in remedy
    assert remedy.count(" -") == 4


def test_what_exchange_never_offers_is_told_as_usual(tmp_path: Path) -> None:
    usual = of(tmp_path, "EHLO")
    assert (usual.level, usual.text) == (
        Level.OK,
        "mail.example.org; no SMTPUTF8, as usual: mail with such addresses is refused with 5.6.7",
    )
    seen = good(tmp_path)
    seen.extensions["SMTPUTF8"] = ""
    assert said(judge(tmp_path, seen), "EHLO").text == "mail.example.org"


@pytest.mark.parametrize(
    ("size", "level", "text"),
    [
        ("0", Level.OK, "no limit is announced"),
        ("", Level.OK, "no limit is announced"),
        ("many", Level.OK, "no limit is announced"),
        ("1" * 21, Level.OK, "no limit is announced"),
        ("\u0661", Level.OK, "no limit is announced"),
        ("37748736", Level.OK, "37748736 octets, limits.message_bytes is 37748736"),
        ("9" * 20, Level.OK, f"{'9' * 20} octets, limits.message_bytes is 37748736"),
        ("37748735", Level.WARN, "it takes 37748735 octets, limits.message_bytes is 37748736"),
        ("1000 and more", Level.WARN, "it takes 1000 octets"),
    ],
)
def test_a_size_is_what_our_largest_message_is_compared_with(
    tmp_path: Path, size: str, level: Level, text: str
) -> None:
    seen = good(tmp_path)
    seen.extensions["SIZE"] = size
    listeners = (ListenerConfig(name="internet"),)
    line = said(judge(tmp_path, seen, listeners=listeners), "SIZE")
    assert line.level is level
    assert line.text.startswith(text)
    assert bool(line.remedy) is (level is Level.WARN)


# ------------------------------------------------------------ TLS


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({}, Level.WARN),
        ({"tls": "off"}, Level.WARN),
        ({"tls": "required"}, Level.FAIL),
        ({"tls_verify": True}, Level.FAIL),
    ],
)
def test_missing_tls_is_as_bad_as_it_is_needed(tmp_path: Path, settings: dict[str, Any], level: Level) -> None:
    hop = UpstreamConfig(host="localhost", port=25, **settings)
    every: tuple[dict[str, object], ...] = (
        {"certificate": None},
        {"certificate": b"junk"},
        {"trust_problem": "not trusted"},
    )
    for changes in every:
        found = [line for line in judge_with(tmp_path, hop, changes) if line.what.endswith(", TLS")]
        assert found[0].level is level, changes
        assert found[0].remedy


def test_a_self_signed_certificate_is_explained(tmp_path: Path) -> None:
    plain = judge_with(tmp_path, HOP, {})
    assert "anybody in between could pose as Exchange" in [line for line in plain if line.what.endswith("TLS")][1].text
    strict = UpstreamConfig(host="LOCALHOST", port=25, tls_verify=True)
    lines = [line for line in judge_with(tmp_path, strict, {}) if line.what.endswith("TLS")]
    assert [line.level for line in lines] == [Level.WARN, Level.OK], "it is for this name, in whatever letters"
    assert lines[1].text == "it is self-signed; upstream.tls_ca_file must hold it"


def issued(tmp_path: Path, days: int) -> bytes:
    names = ("ex01.example.org", "mail.example.org")
    file, _ = Authority(tmp_path / "authority").issue(tmp_path, names, begins=-400 * DAY, ends=days * DAY)
    return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)


def test_a_certificate_of_an_authority_for_one_of_its_names_is_good(tmp_path: Path) -> None:
    for host, levels in (("EX01.example.org", [Level.OK]), ("ex02.example.org", [Level.OK, Level.FAIL])):
        hop = UpstreamConfig(host=host, port=25, tls_verify=True)
        found = judge_with(tmp_path, hop, {"certificate": issued(tmp_path, 300)})
        assert [line.level for line in found if line.what.endswith(", TLS")] == levels
    found = judge_with(tmp_path, HOP, {"certificate": issued(tmp_path, 300)})
    assert [line.level for line in found if line.what.endswith(", TLS")] == [Level.OK], "also where nobody verifies it"


@pytest.mark.parametrize(("settings", "level"), [({}, Level.WARN), ({"tls": "required"}, Level.FAIL)])
def test_a_certificate_that_has_expired_is_as_bad_as_it_is_needed(
    tmp_path: Path, settings: dict[str, Any], level: Level
) -> None:
    hop = UpstreamConfig(host="localhost", port=25, **settings)
    found = judge_with(tmp_path, hop, {"certificate": issued(tmp_path, -1)})
    (line,) = [line for line in found if line.what.endswith(", TLS")]
    assert line.level is level
    assert "it has expired" in line.text


@pytest.mark.parametrize(
    ("entry", "host", "covers"),
    [
        ("ex01.example.org", "ex01.example.org", True),
        ("*.example.org", "ex01.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "a.ex01.example.org", False),
        ("ex*.example.org", "ex01.example.org", False),
        ("*", "ex01", False),
    ],
)
def test_a_wildcard_is_one_whole_label(entry: str, host: str, covers: bool) -> None:
    assert exchange._covers(entry, host) is covers


# ------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("seconds", "level", "text"),
    [
        (1.99, Level.OK, "refusals take 1.99 s at most"),
        (2.0, Level.WARN, "a refusal takes 2.0 s, and holds our connection"),
        (19.9, Level.WARN, "a refusal takes 19.9 s, and holds our connection"),
        (20.0, Level.WARN, "a refusal takes 20.0 s or more, and holds our connection"),
    ],
)
@pytest.mark.parametrize("step", ["command", "relay", "unknown"])
def test_any_slow_refusal_is_a_tarpit(tmp_path: Path, step: str, seconds: float, level: Level, text: str) -> None:
    line = of(tmp_path, "tarpit", **{step: replace(REFUSED, seconds=seconds)})
    assert (line.level, line.text) == (level, text)


def test_where_everything_is_taken_there_is_no_tarpit(tmp_path: Path) -> None:
    line = of(tmp_path, "tarpit", command=None, relay=TAKEN, unknown=TAKEN)
    assert (line.level, line.text) == (Level.OK, "refusals take 0.00 s at most")


def test_what_is_taken_may_take_its_time(tmp_path: Path) -> None:
    assert of(tmp_path, "tarpit", unknown=replace(TAKEN, seconds=9.0)).level is Level.OK


@pytest.mark.parametrize(
    ("step", "about", "answer", "level", "text"),
    [
        ("relay", "relay", None, Level.WARN, "not known: not asked"),
        ("relay", "relay", SILENT, Level.WARN, "not known: no answer in time"),
        ("relay", "relay", LATER, Level.WARN, "not known: 452 4.3.1 Insufficient system resources"),
        ("unknown", "unknown recipient", None, Level.WARN, "not asked: no accepted domain is known"),
        ("unknown", "unknown recipient", SILENT, Level.WARN, "not known: no answer in time"),
        ("unknown", "unknown recipient", LATER, Level.WARN, "not known: 452 4.3.1 Insufficient system resources"),
        (
            "unknown",
            "unknown recipient",
            Answer(Reply(550, "5.1.1", "User unknown")),
            Level.OK,
            "refused at RCPT: 550 5.1.1 User unknown",
        ),
        ("own_sender", "own sender", TAKEN, Level.OK, "mail with a sender of example.org is taken; filterd judges it"),
        ("own_sender", "own sender", SILENT, Level.WARN, "with a sender of example.org: no answer in time"),
    ],
)
def test_what_an_answer_says_and_what_it_does_not(
    tmp_path: Path, step: str, about: str, answer: Answer | None, level: Level, text: str
) -> None:
    line = of(tmp_path, about, **{step: answer})
    assert line.level is level
    assert line.text.startswith(text)
    assert bool(line.remedy) is (level is Level.WARN)


def test_what_was_not_asked_has_no_line(tmp_path: Path) -> None:
    seen = good(tmp_path)
    seen.own_sender, seen.probe = None, None
    found = judge(tmp_path, seen, asked=replace(ASKED, connections=0))
    assert {line.what.partition(", ")[2] for line in found} == {
        *("EHLO", "SIZE", "TLS", "tarpit", "relay", "unknown recipient")
    }


@pytest.mark.parametrize(
    ("tables", "has"),
    [
        ({"recipients": RecipientsConfig()}, False),
        ({"recipients": RecipientsConfig(file=Path("r"))}, True),
        ({"recipients": RecipientsConfig(hashed_file=Path("r"))}, True),
        ({"ldap": (LdapConfig.model_construct(),)}, True),
        ({"push": PushConfig(enabled=True)}, True),
        ({"callahead": CallAheadConfig(host="ex01.example.org")}, True),
    ],
)
def test_a_directory_is_whatever_tells_recipients_apart(tables: dict[str, Any], has: bool) -> None:
    assert exchange.has_directory(Config(**tables)) is has


def test_a_look_at_a_server_in_use_opens_no_connections(tmp_path: Path) -> None:
    asked = exchange.questions(configuration(tmp_path))
    assert (asked.connections, asked.domain, asked.foreign) == (0, "example.org", "example.com")
    assert asked.hostname == "filter.example.net"


@pytest.mark.parametrize(
    ("domains", "foreign"),
    [
        (("example.com",), "example.net"),
        (("example.com", "example.net"), "example.org"),
        (("example.com", "example.net", "example.org"), "filterd.example"),
    ],
)
def test_a_foreign_domain_is_never_one_of_ours(tmp_path: Path, domains: tuple[str, ...], foreign: str) -> None:
    config = configuration(tmp_path, recipients=RecipientsConfig(accepted_domains=domains))
    assert exchange.questions(config).foreign == foreign
    assert exchange.questions(configuration(tmp_path), domain="example.com").foreign == "example.net"


def test_it_is_asked_about_a_domain_whose_recipients_exchange_knows(tmp_path: Path) -> None:
    """A relay domain takes everybody, and a name in other letters wants SMTPUTF8."""
    recipients = RecipientsConfig(accepted_domains=("b\u00fccher.example", "own.example"), relay_domains=("a.example",))
    assert exchange.questions(configuration(tmp_path, recipients=recipients)).domain in (
        "xn--bcher-kva.example",
        "own.example",
    )
    relay = RecipientsConfig(relay_domains=("a.example",))
    assert exchange.questions(configuration(tmp_path, recipients=relay)).domain == ""


def test_doctor_says_nothing_of_a_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        config = configuration(tmp_path, upstream=UpstreamConfig(host="127.0.0.1", port=taken.getsockname()[1]))
        assert asyncio.run(exchange.connector(config, Deadline.after(30))) == []


def test_a_refused_connection_says_what_the_server_said(tmp_path: Path) -> None:
    (line,) = judge(tmp_path, Seen(unreachable="421 4.3.2 Service not active", refusal=None))
    assert (line.level, line.what, line.text) == (Level.FAIL, "exchange localhost:25", "421 4.3.2 Service not active")
