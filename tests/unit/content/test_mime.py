"""Which parts are found, how tolerantly they decode, and that hostile structures stay cheap."""

from __future__ import annotations

import base64
import binascii
import mmap
import tempfile
import time
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.decode import decoded, encoded, to_utf8, undo_encoding
from filterd.content.mime import MAX_PARTS, walk
from filterd.mail.message import Message
from tests.support.growth import assert_growth
from tests.unit.classifier.mails import SPAM


def bodies(octets: bytes) -> list[bytes]:
    message = Message(octets)
    return [encoded(message, p, p.size) for p in walk(message).parts if not p.is_container]


def test_parts_of_a_multipart() -> None:
    walked = walk(Message(SPAM))
    assert [(p.depth, p.content_type) for p in walked.parts] == [
        (0, "multipart/mixed"),
        (1, "text/html"),
        (1, "application/zip"),
    ]
    assert bodies(SPAM)[0].endswith(b"</html>")
    assert (walked.parts[2].name, walked.parts[2].disposition) == ("prize.zip", "attachment")
    assert walked.markers == []


def test_attached_message_is_walked() -> None:
    octets = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html\r\n\r\n<p>in</p>"
    assert [p.content_type for p in walk(Message(octets)).parts] == ["message/rfc822", "text/html"]


def test_a_blank_before_the_colon_does_not_end_the_header() -> None:
    octets = b"Content-Type : text/html\r\nSubject: x\r\n\r\n<p>"
    assert walk(Message(octets)).parts[0].content_type == "text/html"


def test_missing_boundary_is_read_as_text_and_marked() -> None:
    octets = b"Content-Type: multipart/mixed\r\n\r\nwords"
    assert walk(Message(octets)).markers == ["boundary"]
    assert bodies(octets) == [b"words"]


def test_unclosed_last_part_counts() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo"
    assert bodies(octets) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("encoding", "body", "text"),
    [
        ("base64", b"aGVs\r\nbG8=", b"hello"),
        ("base64", b"aGVs*bG8", b"hello"),  # stray character, no padding
        ("base64", b"aGVsbG8=IHdvcmxk", b"hello world"),  # two padded blocks joined
        ("base64", b"aGVsb", b"hel"),
        ("quoted-printable", b"h=C3=A9=\r\nllo =ZZ", "héllo =ZZ".encode()),
        ("x-unknown", b"as it is", b"as it is"),
    ],
)
def test_tolerant_decoding(encoding: str, body: bytes, text: bytes) -> None:
    assert undo_encoding(body, encoding) == text


def test_encoding_with_a_comment() -> None:
    octets = b"Content-Transfer-Encoding: base64 (x)\r\n\r\naGVsbG8="
    message = Message(octets)
    assert decoded(message, walk(message).parts[0], 100) == b"hello"


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("iso-8859-1", b"caf\xe9", "café"),
        ("koi8-r", b"\xf0\xf2\xe9", "ПРИ"),
        (
            "utf-8",
            b"caf\xe9 au lait, s'il vous plait",
            "café au lait, s'il vous plait",
        ),  # lies: falls back to Windows-1252
        ("rot13", b"caf\xc3\xa9", "café"),  # a codec of Python that is no charset
        ("no-such", b"caf\xc3\xa9", "café"),
        ("iso-2022-jp", "日本".encode("iso2022_jp"), "日本"),
    ],
)
def test_charsets(charset: str, raw: bytes, text: str) -> None:
    assert to_utf8(raw, charset).decode() == text


@given(
    st.binary(max_size=400),
    st.sampled_from(["base64", "quoted-printable", "", "x"]),
    st.sampled_from(["", "utf-7", "hz", "gbk", "idna"]),
)
def test_decoding_never_raises(body: bytes, encoding: str, charset: str) -> None:
    to_utf8(undo_encoding(body, encoding), charset)


@given(
    st.lists(
        st.sampled_from(
            [b"--b", b"--b--", b"\r\n", b"Content-Type: multipart/mixed; boundary=b", b"message/rfc822", b"x", b"\n"]
        )
    )
)
def test_walk_never_raises_and_is_bounded(pieces: list[bytes]) -> None:
    walked = walk(Message(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(pieces)))
    assert 1 <= len(walked.parts) <= MAX_PARTS


HOSTILE = {
    "nested": lambda n: b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(n)
    ),
    "same boundary": lambda n: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * n,
    "empty parts": lambda n: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * n,
    "attached": lambda n: b"Content-Type: message/rfc822\r\n\r\n" * n,
    "parameters": lambda n: b"Content-Type: text/plain" + b'; a="b' * n + b"\r\n\r\nx",
    "base64": lambda n: b"Content-Transfer-Encoding: base64\r\n\r\n" + b"YQ==" * n,
    "one line": lambda n: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--" * n,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_growth_is_linear(name: str) -> None:
    def seconds(count: int) -> float:
        octets = HOSTILE[name](count)
        best = 1e9
        for _ in range(3):
            begun = time.process_time()
            message = Message(octets)
            for p in walk(message).parts:
                decoded(message, p, 24_576)
            best = min(best, time.process_time() - begun)
        return best

    assert seconds(16_000) < 24 * max(seconds(2_000), 0.001)


def _many(count: int, last: bytes) -> Message:
    parts = b"--b\r\nContent-Type: image/png\r\n\r\n\r\n" * count
    return Message(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b\r\n" + last + b"\r\n--b--\r\n")


def test_what_stands_behind_hundreds_of_parts_is_seen() -> None:
    message = _many(500, b"Content-Type: text/html\r\n\r\n<p>offer</p>")
    found = walk(message)
    assert "parts" in found.markers
    assert len(found.parts) <= MAX_PARTS
    last = found.parts[-1]
    assert (last.content_type, bytes(message.octets[last.begin : last.end])) == ("text/html", b"<p>offer</p>")


def test_deep_nesting_is_marked_and_read() -> None:
    inner = b"Content-Type: text/html\r\n\r\noffer\r\n"
    for level in range(20):
        boundary = b"b%dx" % level
        inner = b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n%s--%s--\r\n" % (
            boundary,
            boundary,
            inner,
            boundary,
        )
    found = walk(Message(inner))
    assert "depth" in found.markers
    assert found.parts[-1].content_type == "text/html"


def test_a_part_header_beyond_its_bound_is_read_from_its_end() -> None:
    filling = b"X-Filling: " + b"a" * 70_000 + b"\r\n"
    message = Message(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        + filling
        + b"Content-Type: text/html\r\n\r\noffer\r\n--b--"
    )
    part = walk(message).parts[-1]
    assert (part.content_type, bytes(message.octets[part.begin : part.end])) == ("text/html", b"offer")


@pytest.mark.parametrize("fold", [b" ", b"\r\n" + b" " * 12, b"\r\n\t\t" + b" " * 90])
def test_a_fold_before_the_boundary_may_be_wide(fold: bytes) -> None:
    message = Message(
        b"Content-Type: multipart/mixed;"
        + fold
        + b"boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\nx\r\n--b--\r\n"
    )
    assert [part.content_type for part in walk(message).parts] == ["multipart/mixed", "text/html"]


def test_a_boundary_that_the_header_does_not_name_is_found() -> None:
    message = Message(b"Content-Type: multipart/mixed\r\n\r\n--abc\r\nContent-Type: text/html\r\n\r\nx\r\n--abc--\r\n")
    found = walk(message)
    assert found.parts[-1].content_type == "text/html"
    assert "boundary" in found.markers


@pytest.mark.parametrize("value", [b"base64", b'"Base64"', b"(c) base64", b"base64 (c)", b"'base64'"])
def test_transfer_encodings_as_they_are_forgiven(value: bytes) -> None:
    assert walk(Message(b"Content-Transfer-Encoding: " + value + b"\r\n\r\nx")).parts[0].encoding == "base64"


@pytest.mark.parametrize(
    "piece",
    [
        b"--b\r\n\r\n",
        b"--b\r\nX: " + b"a" * 2_000 + b"\r\n",
        b"\r\n--b",
        b"--b\r\nContent-Type: multipart/x; boundary=b\r\n\r\n",
    ],
)
def test_growth_is_linear_in_many_parts(piece: bytes) -> None:
    def prepare(size: int) -> Callable[[], object]:
        return partial(
            walk, Message(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + piece * (size // len(piece)))
        )

    assert_growth(prepare, 100_000, 800_000, 24)


@pytest.mark.parametrize("shift", [*range(-8, 3), 1 << 20])
def test_a_mapped_file_is_searched_like_octets(shift: int) -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
    octets = head + b"x" * ((1 << 20) + shift - 3) + b"\r\n--b\r\n\r\nlast"
    with tempfile.TemporaryFile() as file:
        file.write(octets)
        file.flush()
        mapped = Message(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        assert walk(mapped) == walk(Message(octets))
        assert len(walk(mapped).parts) == 3


def test_octets_are_looked_at_so_often_and_no_more() -> None:
    def nested(levels: int) -> bytes:
        opened = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number)
            for number in range(levels)
        )
        return opened + b"\r\n" + b"x" * 2_000_000

    assert "octets" not in walk(Message(nested(3))).markers
    assert "octets" in walk(Message(nested(8))).markers


def test_parts_of_a_digest_are_messages() -> None:
    octets = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: in\r\n\r\ntext\r\n--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b--\r\n"
    kinds = [part.content_type for part in walk(Message(octets)).parts]
    assert kinds == ["multipart/digest", "message/rfc822", "text/plain", "text/plain"]


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64"])
def test_about_so_many_decoded_octets_as_were_asked_for(encoding: str) -> None:
    plain = "ä".encode() * 500
    coded = (
        base64.encodebytes(plain).replace(b"\n", b"\r\n")
        if encoding == "base64"
        else binascii.b2a_qp(plain).replace(b"\n", b"\r\n")
    )
    message = Message(b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n" + coded)
    (part,) = walk(message).parts
    assert decoded(message, part, 700)[:670] == plain[:670]  # soft line breaks take the rest
