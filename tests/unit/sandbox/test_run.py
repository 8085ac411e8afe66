"""The tour's table says what the client was told, where the message is and why; a taken port is named with its flag."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from sandbox.daemon import free_port
from sandbox.exchange import StandInExchange
from sandbox.run import Ending, Options, place, run, send, table, why
from sandbox.samples import make_samples
from sandbox.signing import DkimKey

SAMPLES = make_samples(DkimKey("example.org"))
TRACE: dict[str, Any] = {
    "message": {"outcomes": [{"recipient": "ben@example.com", "state": "quarantined", "detail": "spam"}]},
    "evidence": {
        "verdicts": [
            {
                "row": "quarantine_score",
                "score": 5.25,
                "contributions": [
                    {"check": "content", "text": "looks like spam", "log_odds": 5.0},
                    {"check": "spf", "text": "spf softfail", "log_odds": 0.8},
                ],
            }
        ]
    },
}


@pytest.mark.parametrize(
    ("reply", "arrived", "trace", "expected"),
    [
        ("250 2.0.0 accepted", b"Received: x\r\n" + SAMPLES[0].message, None, "upstream"),
        ("250 2.0.0 accepted", SAMPLES[0].message.replace(b"minutes", b"Minutes"), None, "altered"),
        ("250 2.0.0 accepted", None, TRACE, "quarantine"),
        ("250 2.0.0 accepted", None, None, "nowhere"),
        ("550 5.1.1 User unknown", None, None, "refused"),
        ("451 4.3.0 later", None, None, "deferred"),
        ("no reply: [Errno 111] Connection refused", None, None, "nowhere"),
        ("550 5.7.1 refused, yet it arrived", SAMPLES[0].message, None, "upstream"),
    ],
)
def test_where_a_message_ended(reply: str, arrived: bytes | None, trace: Any, expected: str) -> None:
    assert place(SAMPLES[0], reply, arrived, trace) == expected


def test_why_names_the_row_and_the_heaviest_findings() -> None:
    assert why(TRACE) == "quarantine_score: score +5.2 (content looks like spam +5.0, spf softfail +0.8)"
    assert why({"message": TRACE["message"], "evidence": None}) == "spam"
    assert why(None) == ""


def test_the_table_is_aligned_and_marks_what_went_astray() -> None:
    good, spam = SAMPLES[0], next(sample for sample in SAMPLES if sample.name == "spam")
    endings = [Ending(good, "250 2.0.0 x", "upstream", "a"), Ending(spam, "250 2.0.0 " + "y" * 99, "upstream", "b")]
    head, first, second = table(endings)
    assert first.startswith("  good mail")
    assert second.startswith("! spam")
    assert head.index("ENDED") == first.index("upstream") == second.index("upstream")


def test_samples_are_sent_from_their_own_addresses(tmp_path: Path) -> None:
    async def talk() -> list[str]:
        async with StandInExchange(tmp_path) as exchange:
            exchange.answers["rcpt bern@example.com"] = "550 5.1.1 User unknown"
            exchange.answers["mail"] = ["250 2.1.0 OK", "250 2.1.0 OK", "451 4.7.0 later"]
            replies = [await asyncio.to_thread(send, sample, exchange.host, exchange.port) for sample in SAMPLES[:3]]
            assert exchange.received[0].octets == SAMPLES[0].message
            return [reply[:9] for reply in replies]

    assert asyncio.run(talk()) == ["250 2.6.0", "550 5.1.1", "451 4.7.0"]


def test_nobody_listening_is_an_ending_too() -> None:
    assert send(SAMPLES[0], "127.0.0.1", free_port()).startswith("no reply: ")


@pytest.mark.parametrize("flag", ["--smtp-port", "--api-port"])
def test_a_taken_port_is_named_with_its_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = (port, free_port()) if flag == "--smtp-port" else (free_port(), port)
        assert run(Options(tmp_path, *ports)) == 1
    assert f"Port {port} is in use" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
