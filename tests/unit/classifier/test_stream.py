"""The decoded stream: what it says of a message and a connection, and that no message breaks or slows it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.classifier.stream import LIMIT, ConnectionFacts, content_stream
from filterd.mail.message import Message
from tests.unit.classifier.mails import HAM, SPAM

FACTS = ConnectionFacts("192.0.2.7", "desk.example.net", "desk.example.net", "bert@example.net")


def section(octets: bytes, name: str, facts: ConnectionFacts = FACTS) -> str:
    stream = content_stream(Message(octets), facts)
    return next(stream.data[begin:end] for found, begin, end in stream.sections if found == name).decode()


def test_sections_cover_the_stream_without_gaps() -> None:
    stream = content_stream(Message(SPAM), FACTS)
    assert [name for name, _, _ in stream.sections] == ["header", "connection", "structure", "url", "text"]
    ends = [0] + [end for _, _, end in stream.sections]
    assert [begin for _, begin, _ in stream.sections] == ends[:-1]
    assert ends[-1] == len(stream.data)


def test_text_is_what_people_read() -> None:
    assert section(SPAM, "text").strip() == "claim your viagra prize now"
    assert "grüße, bert" in section(HAM, "text")


def test_invisible_characters_do_not_split_words() -> None:
    assert (
        section("Content-Type: text/plain; charset=utf-8\r\n\r\nvi\u200bag\u00adra".encode(), "text").strip()
        == "viagra"
    )


def test_urls_are_named_by_host_and_path() -> None:
    assert section(SPAM, "url").strip() == "http 198.51.100.9 .100.9 /claim bare-ip"
    assert section(HAM, "url").strip() == "https wiki.example.net .example.net /protokoll/maerz"


def test_connection_facts_are_read_and_compared() -> None:
    text = section(HAM, "connection")
    assert "ip 192.0.2.7" in text
    assert "helo-is-rdns true" in text
    assert "helo-of-author true" in text
    assert "mail-from-of-author true" in text
    assert section(HAM, "connection", ConnectionFacts()).strip() == ""
    assert "rdns" not in section(HAM, "connection", ConnectionFacts("192.0.2.7", "desk.example.net"))


def test_structure_names_types_attachments_and_order_of_fields() -> None:
    text = section(SPAM, "structure")
    assert "type1 text/html iso-8859-1" in text
    assert "file .zip prize.zip attachment" in text
    assert "x-mailer>x-priority" in text


def test_bounded_and_lower_case() -> None:
    stream = content_stream(Message(b"Subject: X\r\n\r\n" + b"WORD other " * 9000), FACTS)
    assert len(stream.data) == LIMIT
    assert stream.data == stream.data.lower()


def test_a_long_header_does_not_push_the_text_out() -> None:
    padding = b"".join(b"X-Pad-%d: innocent words of padding for the prefix\r\n" % i for i in range(200))
    assert "viagra" in section(padding + SPAM, "text")


def test_the_year_is_no_feature() -> None:
    earlier = HAM.replace(b"2026", b"2009")
    assert content_stream(Message(earlier), FACTS).data == content_stream(Message(HAM), FACTS).data


@given(st.binary(max_size=2000))
def test_never_raises(octets: bytes) -> None:
    content_stream(Message(octets), ConnectionFacts())


@given(st.binary(max_size=600), st.integers(0, len(SPAM)), st.text(max_size=30))
def test_never_raises_on_damaged_mail(noise: bytes, at: int, helo: str) -> None:
    content_stream(Message(SPAM[:at] + noise + SPAM[at:]), ConnectionFacts(helo, helo, helo, helo))


HOSTILE = {
    "header lines": lambda n: b"X-A: b\r\n" * n + b"\r\nx",
    "folded subject": lambda n: b"Subject: a\r\n" + b" =?utf-8?q?a?=\r\n" * n + b"\r\nx",
    "quotes": lambda n: b"From: " + b'"' * n + b"\r\n\r\nx",
    "one line": lambda n: b"Subject: x\r\n\r\n" + b"a" * n,
    "one field": lambda n: b"Subject: " + b"a" * n,
    "links": lambda n: b"\r\n" + b"http://a " * n,
    "identifiers": lambda n: b"References: " + b"<" * n + b"\r\n\r\nx",
    "received": lambda n: b"Received: from a by b; \r\n" * n + b"\r\nx",
    "html": lambda n: b"Content-Type: text/html\r\n\r\n" + b"<!--<a href= &" * n,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_growth_is_linear(name: str) -> None:
    def seconds(count: int) -> float:
        octets = HOSTILE[name](count)
        best = 1e9
        for _ in range(3):
            begun = time.process_time()
            content_stream(Message(octets), FACTS)
            best = min(best, time.process_time() - begun)
        return best

    assert seconds(100_000) < 24 * max(seconds(12_500), 0.001)


def test_full_sections_before_it_leave_the_text_its_floor() -> None:
    header = b"".join(b"To: person-%d of a long name <p%d@department-%d.example>\r\n" % (n, n, n) for n in range(90))
    links = b"".join(
        b"http://host-%d.with-a-long-name-of-its-own.example/a/long/path/to/page%d\n" % (n, n) for n in range(12)
    )
    octets = header + b"Content-Type: text/plain\r\n\r\n" + links + b"order cheap pills now " * 200
    facts = ConnectionFacts("192.0.2.7", "h" * 120, "n" * 120, "f" * 120)
    stream = content_stream(Message(octets), facts)
    sizes = {name: end - begin for name, begin, end in stream.sections}
    assert len(stream.data) == LIMIT
    assert sizes["text"] >= 890
    assert sizes["header"] > 1_000


def test_of_many_links_the_first_and_the_last_are_named() -> None:
    links = b" ".join(b"http://h%d.example/" % number for number in range(30))
    named = section(b"Subject: x\r\n\r\n" + links, "url")
    assert "h0.example" in named
    assert "h29.example" in named
    assert "h15.example" not in named
