"""A conversation in rows: numbered, one line each."""

from __future__ import annotations

from filterd.exchange.logs import Kind, header
from filterd.exchange.spoken import Conversation, spoken_rows
from tests.support.exchangelogs import read_log


def test_rows() -> None:
    lines = [
        (0.0, "+", ""),
        (0.001, ">", "220 hi"),
        (0.5, "<", "EHLO x"),
        (0.6, ">", "250-a\r\n250 b"),
        (0.7, "*", "note, of ours"),
        (1.0, "-", "quit"),
    ]
    said = Conversation(Kind.RECEIVE, 1_764_201_600.0, "internet", "08D5", "192.0.2.2:25", "192.0.2.1:4711", lines)
    rows = read_log(header(Kind.RECEIVE, 0) + "".join(spoken_rows(said)))
    assert [(r["sequence-number"], r["event"], r["data"], r["context"]) for r in rows] == [
        ("0", "+", "", ""),
        ("1", ">", "220 hi", ""),
        ("2", "<", "EHLO x", ""),
        ("3", ">", "250-a", ""),
        ("4", ">", "250 b", ""),
        ("5", "*", "", "note, of ours"),
        ("6", "-", "", "quit"),
    ]
    assert [r["date-time"][-13:] for r in rows][:3] == ["00:00:00.000Z", "00:00:00.001Z", "00:00:00.500Z"]
    assert {(r["connector-id"], r["session-id"], r["remote-endpoint"]) for r in rows} == {
        ("internet", "08D5", "192.0.2.1:4711")
    }


def test_an_endless_reply_is_bounded() -> None:
    said = Conversation(Kind.SEND, 0.0, "upstream", "1", "", "", [(0.0, "<", "250-x\n" * 5000)])
    assert len(list(spoken_rows(said))) == 50
