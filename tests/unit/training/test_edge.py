"""What the edge saw is rebuilt from collected files, and edge-normalised files are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.classifier.stream import ConnectionFacts
from training.edge import at_the_edge

OUTSIDE = b"Received: from mx.sender.example (mail.sender.example [93.184.216.34])\n\tby mx.site.example with ESMTP id 1;\n\tMon, 2 Mar 2026\n"
INSIDE = b"Received: from mx.site.example (mx.site.example [8.8.4.4])\n\tby store.site.example with LMTP id 2; Mon, 2 Mar 2026\n"
LOCAL = b"Received: from localhost (localhost [127.0.0.1]) by store.site.example; Mon, 2 Mar 2026\n"
EARLIER = b"Received: from pc (pc [10.0.0.1]) by mail.sender.example; Mon, 2 Mar 2026\n"
REST = b"From: a@sender.example\nSubject: x\n\nbody\n"


def test_own_hops_are_taken_off_and_read() -> None:
    message, facts = at_the_edge(b"Return-Path: <a@sender.example>\n" + LOCAL + INSIDE + OUTSIDE + EARLIER + REST)
    assert facts == ConnectionFacts("93.184.216.34", "mx.sender.example", "mail.sender.example", "a@sender.example")
    assert [field.value for field in message.all("received")] == [EARLIER[10:-1].decode()]
    assert message.subject == "x"
    assert bytes(message.octets).endswith(b"\r\n\r\nbody\r\n")


def test_mbox_line_gives_the_reverse_path() -> None:
    message, facts = at_the_edge(b"From b@other.example  Mon Mar  2 10:00:00 2026\n" + OUTSIDE + REST)
    assert facts.mail_from == "b@other.example"
    assert facts.client_ip == "93.184.216.34"
    assert message.all("received") == []


def test_without_marks_of_a_delivery_nothing_is_taken_off() -> None:
    message, facts = at_the_edge(OUTSIDE + REST)
    assert facts == ConnectionFacts()
    assert len(message.all("received")) == 1


def test_recorded_facts_win() -> None:
    known = ConnectionFacts("192.0.2.1", "recorded.example")
    message, facts = at_the_edge(b"Return-Path: <x@y.example>\n" + OUTSIDE + REST, known)
    assert facts is known
    assert len(message.all("received")) == 1


@pytest.mark.parametrize(
    ("clause", "client"),
    [
        (b"from 129.97.78.23 ([211.202.101.74]) by s.example", ("211.202.101.74", "129.97.78.23", "")),
        (b"from unknown (HELO pc.example) (211.202.101.74) by s.example", ("211.202.101.74", "pc.example", "")),
        (
            b"from a.example (root@b.example [211.202.101.74]) by s.example",
            ("211.202.101.74", "a.example", "b.example"),
        ),
        (b"from a.example (b.example [IPv6:2a00:1450::1]) by s.example", ("2a00:1450::1", "a.example", "b.example")),
    ],
)
def test_shapes_of_received(clause: bytes, client: tuple[str, str, str]) -> None:
    _, facts = at_the_edge(b"Delivered-To: x\nReceived: " + clause + b"; Mon, 2 Mar 2026\n" + REST)
    assert (facts.client_ip, facts.helo, facts.client_name) == client


@given(st.binary(max_size=500))
def test_never_raises(octets: bytes) -> None:
    at_the_edge(b"Return-Path: <>\nReceived: from " + octets)
