"""Our Authentication-Results field cannot be broken by a value; one that claims to be ours is recognised."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.authres import MAX_RESULTS, authentication_results, names_authserv_id
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from filterd.mail.message import Message
from tests.support.growth import assert_growth

ID = "mx.example.org"


def evidence(check: str, result: Result, **properties: str) -> Evidence:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return Evidence(check, Stage.DATA, result, Reason.OK, properties=named)


def test_a_field_reports_every_method_in_order() -> None:
    found = [
        evidence("dmarc", Result.PASS, header_from="example.com", policy_dmarc="reject"),
        evidence("dnsbl", Result.FAIL),
        evidence("dkim", Result.PASS, header_d="example.com", header_s="s1"),
        evidence("dkim", Result.FAIL, header_d="lists.example.net", header_s="s2", header_i="joe@lists.example.net"),
        evidence("spf", Result.PASS, smtp_mailfrom="example.com"),
    ]
    assert authentication_results(ID, found) == (
        b"Authentication-Results: mx.example.org;\r\n"
        b"\tspf=pass smtp.mailfrom=example.com;\r\n"
        b"\tdkim=pass header.d=example.com header.s=s1;\r\n"
        b"\tdkim=fail header.d=lists.example.net header.s=s2\r\n"
        b"\t header.i=joe@lists.example.net;\r\n"
        b"\tdmarc=pass header.from=example.com policy.dmarc=reject\r\n"
    )


def test_nothing_found_is_said() -> None:
    assert authentication_results(ID, []) == b"Authentication-Results: mx.example.org;\r\n\tnone\r\n"


VALUES = st.text(max_size=400) | st.sampled_from(
    ["a\r\nX-Evil: 1", 'q"uo\\te', "a; dkim=pass", "\x00", "ä" * 300, "a(b"]
)


@given(
    st.lists(st.tuples(st.sampled_from(["spf", "dkim", "dmarc"]), st.sampled_from(list(Result)), VALUES), max_size=30)
)
def test_no_value_can_break_out(items: list[tuple[str, Result, str]]) -> None:
    found = [evidence(check, result, header_d=value, smtp_mailfrom=value) for check, result, value in items]
    field = authentication_results(ID, found)
    message = Message(field + b"Subject: x\r\n\r\n")
    assert [header.name for header in message.fields] == ["Authentication-Results", "Subject"]
    assert all(len(line) <= 900 for line in field.split(b"\r\n"))
    text = field.decode("ascii")
    assert not re.search(r"[^ -~\r\n\t]", text)
    # outside of quoted strings there are exactly the results that were given, and none by the sender
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert '"' not in bare
    assert bare.count(";") == max(len(items[:20]), 1)
    methods = re.findall(r"(?<![\w.-])(spf|dkim|dmarc)=(\w+)", bare)
    wanted = [(c, r.value) for method in ("spf", "dkim", "dmarc") for c, r, _ in items if c == method]
    assert methods == wanted[:20]
    assert names_authserv_id(message.fields[0].body, ID)


def test_no_stranger_makes_the_field_or_a_line_long() -> None:
    found = [evidence("dkim", Result.FAIL, header_d='"' * 5000, header_i="\\" * 5000)] * 100
    field = authentication_results(ID, found)
    assert field.count(b"dkim=fail") == MAX_RESULTS
    assert max(map(len, field.split(b"\r\n"))) <= 900


@pytest.mark.parametrize("value", ["x dmarc=pass", "a; dmarc=pass", "=?utf-8?q?=3B_dmarc=3Dpass?=", '"; dmarc=pass'])
def test_a_rule_that_searches_for_words_finds_none_of_a_stranger(value: str) -> None:
    """Transport rules of Exchange look for text in the decoded field and know no quotes."""
    field = authentication_results(ID, [evidence("dkim", Result.NEUTRAL, header_i=value, header_a=value)])
    assert (field.count(b"="), field.count(b";")) == (3, 1)
    assert b"dmarc=pass" not in field


@pytest.mark.parametrize(
    "body",
    [
        b" mx.example.org; spf=pass",
        b" MX.Example.ORG; none",
        b"mx.example.org.;none",
        b" mx.example.org 1; spf=pass",
        b"\r\n\tmx.example.org\r\n\t;\r\n\tspf=pass",
        b' "mx.example.org"; spf=pass',
        b' "mx.exam\\ple.org"; spf=pass',
        b" (comment) mx.example.org (more; text) 1; spf=pass",
        b" (nested (deep (er)) ;) mx.example.org; spf=pass",
        b" mx.example.org (unclosed; spf=pass",
        b" mx.exam(x)ple.org; spf=pass",
        b" other.example mx.example.org; spf=pass",
        b" mx.example.org",
        b" mx.example.org none",
        b" (only a comment)",
        b"",
        b" ; spf=pass",
        b' "unclosed; spf=pass',
        b" \x00mx.example.org; spf=pass",
        b" (" + b"x" * 5000 + b") mx.example.org; spf=pass",
        b" other.example" + b" " * 5000 + b"mx.example.org; spf=pass",
    ],
    ids=repr,
)
def test_a_claim_to_be_us(body: bytes) -> None:
    assert names_authserv_id(body, ID)


@pytest.mark.parametrize(
    "body",
    [
        b" mx.google.com; dkim=pass header.i=@mx.example.org",
        b" notmx.example.org; spf=pass",
        b" mx.example.org.evil.example; spf=pass",
        b"mx2.example.org;spf=pass",
        b" relay.example.net (Postfix; at home) 1; spf=pass",
        b' "relay.example.net"; spf=pass',
        b" i=1; mx.example.org; spf=pass",
    ],
    ids=repr,
)
def test_a_field_of_somebody_else_stays(body: bytes) -> None:
    assert not names_authserv_id(body, ID)


@given(st.binary(max_size=200), st.sampled_from([b" ", b"\t", b"\r\n ", b"(c)", b"(;)"]))
def test_our_plain_name_is_always_seen(rest: bytes, blank: bytes) -> None:
    assert names_authserv_id(blank + b"mx.example.org" + blank + b";" + rest, ID)


@pytest.mark.parametrize("unit", [b"(", b"()", b'"', b" ", b"\\", b"(\\", b"a ", b"1 "], ids=repr)
def test_growth(unit: bytes) -> None:
    def prepare(length: int) -> Callable[[], object]:
        body = unit * (length // len(unit))
        return lambda: [names_authserv_id(body, ID) for _ in range(5)]

    assert_growth(prepare, 500, 4_000, 8 * 3)
    assert_growth(prepare, 8_000, 800_000, 3)  # what lies beyond the head is not read


@pytest.mark.parametrize("piece", [b"\\(", b"(", b"()", b"(a", b"\\\\"])
def test_time_grows_no_faster_than_the_comments(piece: bytes) -> None:
    def prepare(length: int) -> Callable[[], object]:
        body = b" x (" + piece * (length // len(piece))
        return lambda: [names_authserv_id(body, "filter.example.net") for _ in range(5)]

    assert_growth(prepare, 400, 4_000, 40)  # ten times the length; it was over a hundred times the time


@pytest.mark.parametrize(
    ("field", "claimed"),
    [
        (b" ((a) b) filter.example.net; spf=pass", True),
        (b" mx.other.example (see filter.example.net); spf=pass", True),
        (b" mx.other.example (a;b); spf=pass", False),
        (b" mx.other.example (a; spf=pass", True),
    ],
)
def test_comments_before_the_semicolon(field: bytes, claimed: bool) -> None:
    assert names_authserv_id(field, "filter.example.net") is claimed
