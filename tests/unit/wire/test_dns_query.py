"""What a question looks like to a name server, and which datagrams are taken for its answer."""

from __future__ import annotations

import os

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.wire.dns_query import TYPES, Match, Query, build_query, encode_name, match

NAME = "mx1.mail-out.example.com"


def query_of(name: str = NAME, rdtype: int = 1, entropy: bytes | None = None) -> Query:
    wire = encode_name(name)
    assert wire is not None
    return build_query(wire, rdtype, os.urandom(300) if entropy is None else entropy)


def answer_to(query: Query) -> bytes:
    """A plain answer without records."""
    return dns.message.make_response(dns.message.from_wire(query.wire)).to_wire()


@pytest.mark.parametrize("rdtype", TYPES)
def test_the_question_says_what_it_shall_say(rdtype: str) -> None:
    query = query_of(rdtype=TYPES[rdtype], entropy=b"\xca\xfe" + bytes(300))
    seen = dns.message.from_wire(query.wire)
    assert (seen.id, seen.flags, seen.edns, seen.payload, seen.options) == (
        0xCAFE,
        dns.flags.RD | dns.flags.AD,
        0,
        1232,
        (),
    )
    (question,) = seen.question
    assert question.to_text() == f"{NAME}. IN {rdtype}"


def test_without_edns() -> None:
    wire = encode_name(NAME)
    assert wire is not None
    seen = dns.message.from_wire(build_query(wire, 1, bytes(300), edns=False).wire)
    assert (seen.edns, seen.additional) == (-1, [])


def test_letters_have_the_case_of_the_random_bits_and_nothing_else_changes() -> None:
    name = "a0-_z.xn--mller-kva.example"
    upper = dns.message.from_wire(query_of(name, entropy=b"\xff" * 300).wire).question[0].name.to_text()
    assert upper == name.upper() + "."
    seen = {bytes(dns.message.from_wire(query_of(name).wire).question[0].name.to_wire() or b"") for _ in range(20)}
    assert len(seen) > 10
    assert {each.lower() for each in seen} == {encode_name(name)}


def test_case_can_be_left_alone() -> None:
    wire = encode_name(NAME)
    assert wire is not None
    assert wire in build_query(wire, 1, b"\xff" * 300, mixed_case=False).wire


@given(st.text(max_size=300))
def test_names_are_those_of_dns(text: str) -> None:
    try:
        labels = [label.encode("ascii") for label in text.split(".")]
        expected = dns.name.Name([*labels, b""]).to_wire() if all(labels) else None
    except (UnicodeError, dns.name.LabelTooLong, dns.name.NameTooLong):
        expected = None
    assert encode_name(text) == (expected and expected.lower())


@pytest.mark.parametrize("text", ["", ".", "a..b", ".a", "a.", "a" * 64, "a." * 127 + "aa", "m\xfcller.example"])
def test_what_is_no_name(text: str) -> None:
    assert encode_name(text) is None


def test_the_longest_name() -> None:
    assert encode_name(".".join(["a" * 63] * 3 + ["a" * 61])) is not None
    assert encode_name(".".join(["a" * 63] * 3 + ["a" * 62])) is None


# ---------------------------------------------------------------- whose answer is it?


def test_the_answer_to_the_question_is_the_answer() -> None:
    query = query_of()
    assert match(query, answer_to(query)) is Match.ANSWER


def test_other_letters_are_told_apart() -> None:
    query = query_of(entropy=b"\xff" * 300)
    assert match(query, answer_to(query).replace(b"EXAMPLE", b"example")) is Match.OTHER_CASE


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda wire: b"", id="nothing"),
        pytest.param(lambda wire: wire[:11], id="less-than-a-header"),
        pytest.param(lambda wire: bytes((wire[0] ^ 1,)) + wire[1:], id="id"),
        pytest.param(lambda wire: wire[:2] + b"\x01" + wire[3:], id="a-question"),
        pytest.param(lambda wire: wire[:2] + b"\xa8" + wire[3:], id="an-update"),
        pytest.param(lambda wire: wire[:5] + b"\2" + wire[6:], id="two-questions"),
        pytest.param(lambda wire: wire[:5] + b"\0" + wire[6:], id="no-question-but-octets"),
        pytest.param(lambda wire: wire[:3] + b"\x81\0\0" + wire[6:], id="an-error-without-question-but-octets"),
        pytest.param(lambda wire: wire[:5] + b"\0" + wire[6:12], id="no-question"),
        pytest.param(lambda wire: wire.lower().replace(b"example", b"examplf"), id="name"),
        pytest.param(lambda wire: wire[:39] + b"\x1c" + wire[40:], id="type"),
        pytest.param(lambda wire: wire[:41] + b"\3" + wire[42:], id="class"),
        pytest.param(lambda wire: wire[:40], id="cut"),
    ],
)
def test_what_is_no_answer_to_the_question(change: object) -> None:
    query = query_of()
    assert callable(change)
    wire = answer_to(query)
    assert match(query, wire[: query.end]) is Match.ANSWER
    assert match(query, change(wire[: query.end])) is Match.STRANGER


@pytest.mark.parametrize(
    ("rcode", "expected"),
    [("FORMERR", Match.ANSWER), ("NOTIMP", Match.ANSWER), ("NXDOMAIN", Match.STRANGER), ("NOERROR", Match.STRANGER)],
)
def test_only_failures_need_not_repeat_the_question(rcode: str, expected: Match) -> None:
    query = query_of()
    bare = dns.message.QueryMessage(id=int.from_bytes(query.wire[:2]))
    bare.flags = dns.flags.QR
    bare.set_rcode(dns.rcode.from_text(rcode))
    assert match(query, bare.to_wire()) is expected


@given(st.binary(max_size=600))
def test_no_octets_are_taken_for_an_answer_by_chance(data: bytes) -> None:
    query = query_of(entropy=b"\x12\x34" + bytes(300))
    if match(query, data) is not Match.STRANGER:
        assert data[:2] == b"\x12\x34"
