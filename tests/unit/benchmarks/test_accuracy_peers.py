"""Every peer gets the same cleaned message, keeps order and ties, and is left out by name when it is not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benchmarks.accuracy import bogofilter, peers, rspamd, spamassassin
from benchmarks.accuracy.peer import CERTAIN, PeerError, given_to_peers, log_odds
from filterd.classifier.stream import ConnectionFacts
from training.readers import Item

HAM = b"From: a@example.org\nSubject: minutes of the meeting\n\nThe agenda and the minutes are attached.\n"
SPAM = b"From: b@example.net\nSubject: cheap pills\n\nBuy cheap pills now, limited offer.\n"


def _item(folder: Path, octets: bytes, facts: ConnectionFacts | None = None, *, spam: bool = False) -> Item:
    file = folder / f"{len(list(folder.iterdir()))}.eml"
    file.write_bytes(octets)
    return Item(spam, f"x/{file.name}", file, "2026-01-02T03:04:05Z", facts)


def test_what_receivers_and_scanners_added_is_left_out_and_the_rest_is_byte_for_byte_the_same(tmp_path: Path) -> None:
    octets = b"X-Spam-Status: Yes\nFrom: a@example.org\nX-Virus-Scanned: by\n us\nSubject:  two  blanks\n\nbody\n"
    assert given_to_peers(_item(tmp_path, octets)) == b"From: a@example.org\nSubject:  two  blanks\n\nbody\n"


def test_the_connection_is_told_as_a_postfix_would_write_it(tmp_path: Path) -> None:
    facts = ConnectionFacts("198.51.100.7", "mail.example.org", "out.example.org", "bounce@example.org")
    assert given_to_peers(_item(tmp_path, HAM, facts)) == (
        b"Return-Path: <bounce@example.org>\n"
        b"Received: from mail.example.org (out.example.org [198.51.100.7])\n\tby mx.example.net (Postfix) with ESMTP;\n"
        b"\tFri, 02 Jan 2026 03:04:05 +0000\n" + HAM
    )


def test_what_is_not_known_of_the_connection_is_not_made_up(tmp_path: Path) -> None:
    assert given_to_peers(_item(tmp_path, HAM, ConnectionFacts())) == HAM
    told = given_to_peers(_item(tmp_path, HAM, ConnectionFacts("2001:db8::1", "he\r\nlo<")))
    assert told.startswith(b"Received: from helo (unknown [IPv6:2001:db8::1])\n")
    assert b"Return-Path" not in told


def test_log_odds_keep_the_order_of_probabilities() -> None:
    found = [log_odds(p) for p in (0.0, 1e-300, 1e-9, 0.25, 0.5, 0.75, 1 - 1e-9, 1.0)]
    assert found == sorted(found)
    assert (found[0], found[4], found[-1]) == (-CERTAIN, 0.0, CERTAIN)
    with pytest.raises(PeerError, match=r"1\.5 is no probability"):
        log_odds(1.5)


def test_scores_are_read_with_all_digits() -> None:
    assert bogofilter.parse_score(b"0.5000000000000001\n") > bogofilter.parse_score(b"0.5000000000000000\n") == 0.0
    assert spamassassin.parse_score(b"none\n") == 0.0
    assert spamassassin.parse_score(b"0.99999999999999989\n") > 36
    body = b'{"symbols": {"PEER_PROBABILITY": {"score": 0.0, "options": ["0.25"]}}}'
    assert rspamd.parse_score(body) == pytest.approx(-1.0986, abs=1e-4)
    assert rspamd.parse_score(b'{"symbols": {}}') is None


@pytest.mark.parametrize("octets", [b"", b"Yes\n", b"nan\n", b"7\n"])
def test_what_is_no_score_is_an_error_and_no_score(octets: bytes) -> None:
    for parse in (bogofilter.parse_score, spamassassin.parse_score, rspamd.parse_score):
        with pytest.raises(PeerError):
            parse(octets)


def test_a_peer_that_is_not_installed_is_named_with_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PeerError, match="rspamd is left out: rspamd redis-server is not installed"):
        peers.make("rspamd")
    with pytest.raises(PeerError, match="no peer bogofilter:x; there are bogofilter, bogofilter:pairs"):
        peers.make("bogofilter:x")


class _Recorder:
    """A peer that says how much it has learned."""

    packages = ""
    settings = "none"

    def __init__(self) -> None:
        self.calls: list[str] = []

    @staticmethod
    def missing() -> str:
        return ""

    def start(self, folder: Path) -> None:
        self.calls.append("start")

    def score(self, octets: bytes) -> float:
        self.calls.append("score " + octets.decode()[:1])
        return float(len(self.calls))

    def learn(self, octets: bytes, spam: bool) -> None:
        self.calls.append(f"learn {octets.decode()[:1]} {spam}")

    def stop(self) -> str:
        self.calls.append("stop")
        return "done"


def test_online_scores_before_it_learns_and_learns_everything(tmp_path: Path) -> None:
    items = [_item(tmp_path, b"A: 1\n\n"), _item(tmp_path, b"B: 1\n\n", spam=True)]
    peer = _Recorder()
    found = peers.run(peer, items, "online", "")
    assert peer.calls == ["start", "score A", "learn A False", "score B", "learn B True", "stop"]
    assert (found.labels, found.run.remark) == ([False, True], "done")
    assert found.run.digest == peers.digest_of(items, "online")


def test_batch_learns_the_first_half_and_scores_the_second(tmp_path: Path) -> None:
    items = [_item(tmp_path, b"A: 1\n\n"), _item(tmp_path, b"B: 1\n\n", spam=True)]
    peer = _Recorder()
    assert peers.run(peer, items, "batch", "").labels == [True]
    assert peer.calls == ["start", "learn A False", "score B", "stop"]


class _Answers(BaseHTTPRequestHandler):
    """Stands for Rspamd: sure of spam when the text says so; refuses what it is asked to learn as ham."""

    def do_POST(self) -> None:
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        probability = "1" if b"pills" in octets else "0.5"
        status, body = 200, b'{"symbols": {"PEER_PROBABILITY": {"options": ["%s"]}}}' % probability.encode()
        if self.path == "/learnham":
            status, body = 208, b"{}"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def answering_port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_rspamd_is_asked_over_http_and_what_it_refuses_is_counted(answering_port: int) -> None:
    peer = rspamd.Rspamd()
    peer._ports = (answering_port, answering_port)
    assert (peer.score(SPAM), peer.score(HAM)) == (CERTAIN, 0.0)
    peer.learn(SPAM, True)
    peer.learn(HAM, False)
    assert peer.stop().startswith("1 messages not learned")


@pytest.mark.skipif(bool(bogofilter.Bogofilter.missing()), reason="bogofilter is not installed")
def test_bogofilter_learns(tmp_path: Path) -> None:
    _learns(bogofilter.Bogofilter(), tmp_path)


@pytest.mark.skipif(bool(spamassassin.SpamAssassin.missing()), reason="spamassassin is not installed")
def test_spamassassin_learns(tmp_path: Path) -> None:
    _learns(spamassassin.SpamAssassin(), tmp_path)


def _learns(peer: bogofilter.Bogofilter | spamassassin.SpamAssassin, folder: Path) -> None:
    peer.start(folder)
    try:
        assert peer.score(SPAM) == 0.0
        peer.learn(SPAM, True)
        peer.learn(HAM, False)
        assert peer.score(HAM) < 0 < peer.score(SPAM)
    finally:
        peer.stop()
