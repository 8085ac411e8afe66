"""What others state is read as they mean it, never as more, and at a cost that grows with its length only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.authres import results_text
from filterd.mail.authres_read import MAX_PAYLOAD, MAX_RESULTS, StatedResults, read_results
from filterd.mail.evidence import Evidence, Reason, Result, Stage
from tests.support.growth import assert_growth


def brief(payload: bytes) -> list[tuple[str, str, dict[str, str]]]:
    return [(r.method, r.result, dict(r.properties)) for r in read_results(payload).results]


def test_what_a_large_provider_writes() -> None:
    stated = read_results(
        b" mx.google.com;\r\n       dkim=pass header.i=@example.com header.s=s1 header.b=AbC/dE=;\r\n"
        b"       arc=pass (i=1 spf=pass spfdomain=example.com);\r\n"
        b"       spf=pass (google.com: domain of a@example.com designates 192.0.2.1 as permitted sender) "
        b'smtp.mailfrom="a;b\\"c"@example.com;\r\n'
        b"       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.com"
    )
    assert stated.authserv_id == "mx.google.com"
    assert [(r.method, r.result) for r in stated.results] == [
        *(("dkim", "pass"), ("arc", "pass"), ("spf", "pass"), ("dmarc", "pass"))
    ]
    assert stated.of("dkim")[0].properties["header.b"] == "AbC/dE="
    assert stated.of("spf")[0].properties == {"smtp.mailfrom": 'a;b"c@example.com'}
    assert stated.of("dmarc")[0].properties == {"header.from": "example.com"}


def test_what_exchange_online_writes() -> None:
    payload = (
        b" mx.microsoft.com 1; spf=pass smtp.mailfrom=x.example; dmarc=pass action=none header.from=X.example; arc=none"
    )
    assert read_results(payload).authserv_id == "mx.microsoft.com"
    assert brief(payload)[1] == ("dmarc", "pass", {"action": "none", "header.from": "X.example"})


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"a; none", []),
        (b"", []),
        (b"a", []),
        (b"a;;; ;", []),
        (b"a; dmarc", []),
        (b"a; =pass", []),
        (b"a; dmarc=", []),
        (b"a; dmarc==pass", [("dmarc", "pass", {})]),
        (b"a; DKIM / 1 = Pass", []),
        (b"a; DKIM/1 = Pass", [("dkim", "pass", {})]),
        (b"a; dmarc (x) = (y (z) \\)) pass (dmarc=fail) header.from (q) = b", [("dmarc", "pass", {"header.from": "b"})]),
        (b"a; says dmarc=pass", []),
        (b"a; dmarc=pass header.from=b header.from=c", [("dmarc", "pass", {"header.from": "b"})]),
        (b'a; dkim=fail reason="bad; dmarc=pass" header.d=b', [("dkim", "fail", {"reason": "bad; dmarc=pass", "header.d": "b"})]),
        (b"a; dkim=fail (bad; dmarc=pass", [("dkim", "fail", {})]),
        (b'a; dkim=fail reason="bad; dmarc=pass', [("dkim", "fail", {})]),
        (b"dmarc=pass; spf=none", [("spf", "none", {})]),
        (b"a; spf=pass\\; dmarc=pass", [("spf", "pass\\;", {"dmarc": "pass"})]),
    ],
)  # fmt: skip
def test_grammar(payload: bytes, expected: list[tuple[str, str, dict[str, str]]]) -> None:
    assert brief(payload) == expected


def test_a_monster_is_not_read() -> None:
    assert read_results(b"a; dmarc=pass" + b" " * MAX_PAYLOAD) == StatedResults("")


def test_of_many_statements_the_first_are_read() -> None:
    assert len(read_results(b"a" + b"; spf=pass" * (MAX_RESULTS + 50)).results) == MAX_RESULTS


TEXT = st.lists(
    st.sampled_from(["a", "dmarc", "pass", "=", ";", " ", '"', "(", ")", "\\", "\r\n ", "header.from", ".", "é"]),
    max_size=40,
).map("".join)


@given(TEXT)
def test_anything(text: str) -> None:
    stated = read_results(text.encode())
    for result in stated.results:
        assert result.method == result.method.lower()
        assert result.result


@given(TEXT, TEXT)
def test_no_value_that_we_write_is_read_as_a_result(domain: str, reason: str) -> None:
    evidence = Evidence(
        "dkim", Stage.DATA, Result.FAIL, Reason.SIGNATURE_INVALID, properties={"header.d": domain, "reason": reason}
    )
    stated = read_results(results_text("mx.example", [evidence]).encode())
    assert [(r.method, r.result) for r in stated.results] == [("dkim", "fail")]


@pytest.mark.parametrize(
    "unit", ["(", ")", '"', "\\", "=", ";", " ", "a=", "a=b ", "a;", '"a" ', "(a) ", "a"], ids=repr
)
def test_growth(unit: str) -> None:
    def prepare(size: int) -> Callable[[], object]:
        payload = b"a; dmarc=pass " + unit.encode() * (size // len(unit))
        return lambda: [read_results(payload) for _ in range(5)]

    assert_growth(prepare, 2_000, 16_000, 8 * 3)
