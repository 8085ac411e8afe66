"""Each way in which a receive connector can be wrong has its line, with what to do; a good one has none to complain of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from filterd.adapters.exchange_probe import Answer, Questions, Seen
from filterd.config import (
    Config,
    RecipientsConfig,
    ServerConfig,
    UpstreamConfig,
)
from filterd.deadline import Deadline
from filterd.doctor import exchange
from filterd.doctor.finding import Finding, Level
from filterd.mail.reply import Reply
from sandbox.exchange import StandInExchange
from sandbox.frontend import FrontEnd
from tests.support.certificate import write_certificate

HOP = UpstreamConfig(host="localhost", port=25)
ASKED = Questions("filter.example.net", "example.org", connections=25)
REFUSED = Answer(Reply(550, "5.7.54", "SMTP; Unable to relay recipient in non-accepted domain"), 0.01)
TAKEN = Answer(Reply(250, "2.1.5", "Recipient OK"), 0.01)


def configuration(tmp_path: Path, **tables: Any) -> Config:
    base: dict[str, Any] = {
        "server": ServerConfig(hostname="filter.example.net", state_dir=tmp_path),
        "recipients": RecipientsConfig(accepted_domains=("example.org",), file=tmp_path / "recipients"),
    }
    return Config(**{**base, **tables})


def good(tmp_path: Path) -> Seen:
    certificate, _ = write_certificate(tmp_path / "certificate")
    return Seen(
        name="mail.example.org",
        extensions={
            "SIZE": "40000000",
            "PIPELINING": "",
            "CHUNKING": "",
            "8BITMIME": "",
            "ENHANCEDSTATUSCODES": "",
            "STARTTLS": "",
        },
        certificate=x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER),
        command=Answer(Reply(500, "5.3.3", "Unrecognized command"), 0.01),
        relay=REFUSED,
        unknown=TAKEN,
        own_sender=TAKEN,
        connections=25,
    )


def judge(
    tmp_path: Path, seen: Seen, hop: UpstreamConfig = HOP, asked: Questions = ASKED, **tables: Any
) -> list[Finding]:
    return exchange.judge(configuration(tmp_path, **tables), hop, asked, seen)


def bad(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.level is not Level.OK]


def test_a_good_connector_has_nothing_to_complain_of_but_its_short_certificate(tmp_path: Path) -> None:
    found = judge(tmp_path, good(tmp_path))
    (short,) = bad(found)
    assert "0 days are left" in short.text
    text = "\n".join(finding.text for finding in found)
    assert "self-signed" in text
    assert "denied: 550 5.7.54" in text
    assert "our directory answers before" in text


Change = Callable[[Seen], Any]


@pytest.mark.parametrize(
    ("change", "level", "text", "remedy"),
    [
        (lambda seen: setattr(seen, "name", "Filter.example.net"), Level.FAIL, "as we do", "Fqdn"),
        (lambda seen: seen.extensions.pop("CHUNKING"), Level.WARN, "CHUNKING", "-ChunkingEnabled $true"),
        (lambda seen: seen.extensions.update(XCLIENT="NAME"), Level.WARN, "XCLIENT", "upstream.host"),
        (lambda seen: seen.extensions.update(SIZE="1000"), Level.WARN, "1000 octets", "MaxMessageSize"),
        (lambda seen: setattr(seen, "certificate", None), Level.WARN, "STARTTLS", "AuthMechanism Tls"),
        (lambda seen: setattr(seen, "certificate", b"junk"), Level.WARN, "cannot be read", "another"),
        (lambda seen: setattr(seen, "relay", replace(REFUSED, seconds=5.1)), Level.WARN, "5.1 s", "-TarpitInterval"),
        (lambda seen: setattr(seen, "relay", TAKEN), Level.FAIL, "open relay", "Accept-Any-Recipient"),
        (lambda seen: setattr(seen, "relay", Answer(None, 1.0, "no answer")), Level.WARN, "no answer", "protocol log"),
        (
            lambda seen: setattr(seen, "relay", Answer(Reply(452, "4.3.1", "Insufficient system resources"))),
            Level.WARN,
            "452",
            "back pressure",
        ),
        (lambda seen: setattr(seen, "unknown", REFUSED), Level.WARN, "Unable to relay", "Get-AcceptedDomain"),
        (
            lambda seen: setattr(
                seen,
                "own_sender",
                Answer(Reply(550, "5.7.1", "Anonymous client does not have permissions to send as this sender")),
            ),
            Level.WARN,
            "send as this sender",
            "ms-Exch-SMTP-Accept-Authoritative-Domain-Sender",
        ),
        (
            lambda seen: (
                setattr(seen, "connections", 20),
                setattr(seen, "refusal", Answer(Reply(421, "4.3.2", "The maximum number of concurrent connections"))),
            ),
            Level.WARN,
            "20 at once",
            "MaxInboundConnectionPerSource",
        ),
    ],
)
def test_each_fault_has_its_line(tmp_path: Path, change: Change, level: Level, text: str, remedy: str) -> None:
    seen = good(tmp_path)
    change(seen)
    found = [finding for finding in bad(judge(tmp_path, seen)) if "days are left" not in finding.text]
    (line,) = found
    assert line.level is level
    assert text in line.text
    assert remedy in line.remedy


def test_a_refused_connection_is_explained(tmp_path: Path) -> None:
    full = Answer(Reply(421, "4.3.2", "The maximum number of concurrent connections has exceeded a limit"))
    (line,) = judge(tmp_path, Seen(unreachable=str(full), refusal=full))
    assert line.level is Level.FAIL
    assert "MaxInboundConnectionPerSource" in line.remedy
    (line,) = judge(tmp_path, Seen(unreachable="cannot connect"))
    assert "RemoteIPRanges" in line.remedy


def test_a_certificate_that_upstream_would_not_take_is_a_fail(tmp_path: Path) -> None:
    seen = good(tmp_path)
    seen.trust_problem = "TLS handshake with upstream failed: unable to get local issuer certificate"
    hop = UpstreamConfig(host="localhost", port=25, tls_verify=True)
    failed = [line for line in judge(tmp_path, seen, hop) if line.level is Level.FAIL]
    assert [line.text for line in failed if "local issuer" in line.text]
    assert "upstream.tls_ca_file" in failed[0].remedy


def test_an_address_of_version_6_is_told_from_its_port(tmp_path: Path) -> None:
    found = judge(tmp_path, good(tmp_path), UpstreamConfig(host="fd00::1", port=25))
    assert {line.what.partition(",")[0] for line in found} == {"exchange [fd00::1]:25"}


def test_a_limit_of_connections_that_is_enough_is_no_fault(tmp_path: Path) -> None:
    seen = good(tmp_path)
    seen.connections, seen.refusal = 20, Answer(Reply(421, "4.3.2", "The maximum number of concurrent connections"))
    small = UpstreamConfig(host="localhost", port=25, connections=4)
    found = judge(tmp_path, seen, small, upstream=small)
    assert [line.level for line in found if line.what.endswith("connections")] == [Level.OK]


def test_more_connections_than_may_be_tried_are_not_said_to_be_taken(tmp_path: Path) -> None:
    large = UpstreamConfig(host="localhost", port=25, connections=200)
    seen = good(tmp_path)
    asked = exchange.questions(configuration(tmp_path, upstream=large), many=True)
    assert asked.connections == 100
    seen.connections = 100
    (line,) = [
        line for line in judge(tmp_path, seen, large, asked, upstream=large) if line.what.endswith("connections")
    ]
    said = "100 at once are taken, more were not tried; we need (workers + 1) x upstream.connections = 600 at most"
    assert (line.level, line.text) == (Level.OK, said)


def test_a_filter_without_a_directory_is_told_why_it_needs_one(tmp_path: Path) -> None:
    found = judge(tmp_path, good(tmp_path), recipients=RecipientsConfig(accepted_domains=("example.org",)))
    (line,) = [line for line in found if line.what.endswith("unknown recipient")]
    assert line.level is Level.WARN
    assert "docs/directory.md" in line.remedy


def test_what_is_required_of_tls_fails_where_it_is_missing(tmp_path: Path) -> None:
    strict = UpstreamConfig(host="ex01.example.org", port=25, tls="required", tls_verify=True)
    found = [line for line in judge(tmp_path, good(tmp_path), strict) if line.what.endswith("TLS")]
    assert [line.level for line in found] == [Level.WARN, Level.OK, Level.FAIL]
    assert "not for ex01.example.org" in found[-1].text
    seen = good(tmp_path)
    seen.certificate, seen.tls_problem = None, "handshake failed"
    (line,) = [line for line in judge(tmp_path, seen, strict) if line.what.endswith("TLS")]
    assert (line.level, line.text) == (Level.FAIL, "handshake failed")


def test_an_unreachable_server_is_one_line(tmp_path: Path) -> None:
    (line,) = judge(tmp_path, Seen(unreachable="cannot connect to upstream: refused"))
    assert line.level is Level.FAIL
    assert "RemoteIPRanges" in line.remedy


def test_a_probe_says_where_to_look(tmp_path: Path) -> None:
    asked = replace(ASKED, probe="anna@example.org")
    seen = good(tmp_path)
    seen.message_id, seen.probe = "<x@filter.example.net>", Answer(Reply(250, "2.6.0", "Queued mail for delivery"))
    line = judge(tmp_path, seen, asked=asked)[-1]
    assert line.level is Level.OK
    assert "<x@filter.example.net>" in line.text
    assert "Get-MessageTrackingLog -MessageId '<x@filter.example.net>'" in line.remedy
    seen.probe = Answer(Reply(451, "4.7.0", "Temporary server error. Please try again later. PRX2"))
    line = judge(tmp_path, seen, asked=asked)[-1]
    assert line.level is Level.FAIL
    assert "Front End cannot reach" in line.remedy


def test_questions_never_take_an_own_domain_for_a_foreign_one(tmp_path: Path) -> None:
    config = configuration(tmp_path, recipients=RecipientsConfig(accepted_domains=("example.com", "example.net")))
    asked = exchange.questions(config, many=True)
    assert (asked.domain, asked.foreign, asked.connections) == ("example.com", "example.org", 25)
    assert exchange.questions(config, probe="x@example.org").domain == "example.org"


def test_doctor_has_the_short_form(tmp_path: Path) -> None:
    async def run(front_end: FrontEnd) -> list[Finding]:
        async with StandInExchange(tmp_path / "maildir") as server:
            server.front_end = front_end
            config = configuration(tmp_path, upstream=UpstreamConfig(port=server.port))
            return await exchange.connector(config, Deadline.after(20))

    (fine,) = asyncio.run(run(FrontEnd(accepted_domains=frozenset({"example.org"}))))
    assert fine.level is Level.OK
    (relay,) = asyncio.run(run(FrontEnd()))
    assert relay.level is Level.FAIL
    assert "open relay" in relay.text
