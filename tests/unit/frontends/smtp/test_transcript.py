"""What is remembered of a conversation: bounded, without passwords, and of failures only when told so."""

from __future__ import annotations

import asyncio
import timeit
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.config import ListenerConfig
from filterd.frontends.smtp.transcript import LAST_LINES, MAX_CHARACTERS, MAX_LINES, MAX_TEXT, Transcript
from filterd.mail.reply import Reply
from tests.support.certificate import write_certificate
from tests.support.doubles import MemoryAccounts
from tests.support.fakesession import FakeSession, serving
from tests.support.smtpclient import SmtpClient


class Sink:
    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def write(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)


@pytest.mark.parametrize(
    ("mode", "reply", "reason", "kept"),
    [
        ("off", "550 5.1.1 No", "quit", False),
        ("all", "250 OK", "quit", True),
        ("failures", "250 OK", "quit", False),
        ("failures", "250 OK", "disconnect", False),
        ("failures", "421 4.3.2 Restarting", "drain", False),
        ("failures", "550 5.1.1 No", "quit", True),
        ("failures", "451 4.3.0 Later", "quit", True),
        ("failures", "250 OK", "timeout", True),
        ("failures", "250 OK", "tls", True),
    ],
)
def test_what_is_kept(mode: Literal["off", "failures", "all"], reply: str, reason: str, kept: bool) -> None:
    sink = Sink()
    transcript = Transcript(sink, mode, "internet", "192.0.2.1")
    transcript.heard("EHLO x")
    transcript.said(reply)
    transcript.reference("ID1")
    transcript.reference("ID1")
    transcript.reference("")
    transcript.close(reason)
    transcript.close(reason)  # the second time says nothing
    assert len(sink.entries) == kept
    if kept:
        (entry,) = sink.entries
        assert (entry["listener"], entry["client"], entry["ids"], entry["end"]) == (
            "internet",
            "192.0.2.1",
            ["ID1"],
            reason,
        )
        assert [line[1:] for line in entry["lines"]] == [["C", "EHLO x"], ["S", reply]]


@pytest.mark.parametrize("mode", ["off", "failures", "all"])
def test_who_wants_every_conversation_gets_it_in_any_mode(mode: Literal["off", "failures", "all"]) -> None:
    sink, every = Sink(), Sink()
    transcript = Transcript(sink, mode, "internet", "192.0.2.1", every, port=4711, server="192.0.2.2:25")
    transcript.heard("AUTH PLAIN c2VjcmV0")
    transcript.said("235 OK")
    transcript.reference("ID1")
    transcript.close("quit")
    transcript.close("quit")
    (entry,) = every.entries
    assert (entry["port"], entry["server"], entry["ids"]) == (4711, "192.0.2.2:25", ["ID1"])
    assert [line[1:] for line in entry["lines"]] == [["C", "AUTH PLAIN ***"], ["S", "235 OK"]]
    assert len(sink.entries) == (mode == "all")


def test_a_long_conversation_keeps_its_beginning_and_its_end() -> None:
    sink = Sink()
    transcript = Transcript(sink, "all", "internet", "192.0.2.1")
    for number in range(10_000):
        transcript.heard(f"NOOP {number}")
    transcript.close("quit")
    lines = [text for _, _, text in sink.entries[0]["lines"]]
    assert len(lines) == MAX_LINES + LAST_LINES + 1
    assert lines[0] == "NOOP 0"
    assert lines[MAX_LINES] == f"… {10_000 - MAX_LINES - LAST_LINES} lines left out"
    assert lines[-1] == "NOOP 9999"


def test_long_lines_are_cut_and_there_are_fewer_of_them() -> None:
    sink = Sink()
    transcript = Transcript(sink, "all", "internet", "192.0.2.1")
    for number in range(1000):
        transcript.heard(f"NOOP {number} " + "x" * 2000)
    transcript.close("quit")
    lines = [text for _, _, text in sink.entries[0]["lines"]]
    assert {len(line) for line in lines if line.startswith("NOOP")} == {MAX_TEXT}
    assert sum(map(len, lines)) <= MAX_CHARACTERS + (LAST_LINES + 2) * MAX_TEXT
    assert [line for line in lines if "left out" in line] == [f"… {1000 - len(lines) + 1} lines left out"]
    assert lines[-1].startswith("NOOP 999 ")
    assert [at for at, _, _ in sink.entries[0]["lines"] if at] == sorted(
        at for at, _, _ in sink.entries[0]["lines"] if at
    )


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("AUTH PLAIN AGFubmEAc2VjcmV0", "AUTH PLAIN ***"),
        ("auth login YW5uYQ== more", "auth login ***"),
        ("AUTH LOGIN", "AUTH LOGIN"),
        ("AUTH", "AUTH"),
        ("AUTH AGFubmEAc2VjcmV0", "AUTH ***"),
        ("AUTH AGFub=", "AUTH ***"),
        (" AUTH PLAIN AGFubmEAc2VjcmV0", " AUTH PLAIN ***"),
        ("AUTH\tPLAIN\tAGFubmEAc2VjcmV0", "AUTH\tPLAIN ***"),
        ("\0AUTH=PLAIN-AGFubmEAc2VjcmV0", "\0AUTH ***"),
        ("MAIL FROM:<a@example.org> AUTH=<>", "MAIL FROM:<a@example.org> AUTH=<>"),
    ],
)
def test_passwords_are_left_out(command: str, shown: str) -> None:
    sink = Sink()
    transcript = Transcript(sink, "all", "internet", "192.0.2.1")
    transcript.heard(command)
    transcript.close("quit")
    assert sink.entries[0]["lines"][0][2] == shown


def test_a_password_that_is_said_after_a_refusal_is_left_out() -> None:
    sink = Sink()
    transcript = Transcript(sink, "all", "internet", "192.0.2.1")
    for command in ("GARBAGE", "AUTH LOGIN", "YW5uYQ==", "c2VjcmV0", "RSET", "mail FROM:<>", "DATAc2VjcmV0"):
        transcript.heard(command)
        transcript.said("503 5.5.1 No")
    transcript.close("quit")
    heard = [text for _, who, text in sink.entries[0]["lines"] if who == "C"]
    assert heard == ["GARBAGE", "AUTH LOGIN", "***", "***", "RSET", "mail FROM:<>", "***"]


@given(st.text(), st.sampled_from(["AUTH", "auth", " Auth"]), st.text(st.characters(categories=["Z", "C", "P"])))
def test_no_password_is_ever_shown(before: str, command: str, between: str) -> None:
    sink = Sink()
    transcript = Transcript(sink, "all", "internet", "192.0.2.1")
    transcript.heard(before)
    transcript.heard(f"{command} {between}c2VjcmV0")
    transcript.heard(f"{between}c2VjcmV0")
    transcript.close("quit")
    assert "c2VjcmV0" not in str(sink.entries[0]["lines"][1:])


@pytest.mark.parametrize("odd", ["-", " ", "A-", "-_", "\0"])
def test_what_a_line_costs_grows_with_its_length(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setattr("filterd.frontends.smtp.transcript.MAX_TEXT", 10**9)

    def cost(octets: int) -> float:
        line = "AUTH " + odd * (octets // len(odd))
        return timeit.timeit(lambda: Transcript(Sink(), "all", "internet", "192.0.2.1").heard(line), number=1)

    pairs = [(cost(20_000), cost(160_000)) for _ in range(15)]  # in turns: both meet the same noise
    few, many = (min(column) for column in zip(*pairs, strict=True))
    assert many < 3**3 * few  # three doublings


def test_a_front_server_may_name_the_client_later() -> None:
    sink = Sink()
    transcript = Transcript(sink, "all", "internet", "192.0.2.1")
    transcript.client = "198.51.100.7"
    transcript.close("quit")
    assert sink.entries[0]["client"] == "198.51.100.7"


def test_a_conversation_from_its_first_to_its_last_word(tmp_path: Path) -> None:
    sink = Sink()
    certificate, key = write_certificate(tmp_path)
    listener = ListenerConfig(protocol_log="all", tls_certificate=certificate, tls_key=key, auth=True)

    async def main() -> None:
        session = FakeSession(answers={"data": Reply(250, "2.0.0", "Taken", "ID")})
        async with serving(session, listeners=[listener], authenticator=MemoryAccounts({"anna": "secret"})) as served:
            served.front.transcripts = sink
            client = await SmtpClient.greeted(served.port)
            await client.starttls()
            await client.command("EHLO client.example.org")
            await client.command("AUTH LOGIN")
            await client.command("YW5uYQ==")
            assert (await client.command("c2VjcmV0")).startswith("235")
            await client.begin()
            await client.send(b"Subject: not for the log\r\n\r\nsecret text\r\n.\r\n")
            await client.reply()
            await client.command("QUIT")
            await session.closed.wait()

    asyncio.run(main())
    (entry,) = sink.entries
    shown = [f"{who}: {text.splitlines()[0]}" for _, who, text in entry["lines"]]
    assert entry["ids"] == ["ID"]
    assert shown[:6] == [
        "S: 220 filter.example.org ESMTP filterd",
        "C: EHLO client.example.org",
        "S: 250-filter.example.org",
        "C: STARTTLS",
        "S: 220 2.0.0 Ready to start TLS",
        "*: TLSv1.3 TLS_AES_256_GCM_SHA384",
    ]
    assert "*: message of 41 octets" in shown
    assert shown[-3:] == ["C: QUIT", "S: 221 2.0.0 Bye", "*: end: quit"]
    assert "secret" not in str(entry)
    assert "YW5uYQ==" not in str(entry)
