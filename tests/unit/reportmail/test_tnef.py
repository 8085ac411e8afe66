"""Our reader of winmail.dat finds what tnefparse finds, and ends where the file does."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
import tnefparse
from hypothesis import given
from hypothesis import strategies as st

from filterd.reportmail import mapi
from filterd.reportmail.tnef import TnefError, properties, read
from tests.support.growth import assert_growth
from tests.support.msgfile import tnef_stream
from tests.support.reportmail import spam

_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), min_size=1, max_size=40)


@given(_TEXT, _TEXT, st.lists(st.binary(min_size=2, max_size=60), max_size=4), st.lists(_TEXT, max_size=3))
def test_agrees_with_tnefparse(subject: str, body: str, files: list[bytes], bodies: list[str]) -> None:
    inner = [tnef_stream(body=text, subject="inner") for text in bodies]
    # tnefparse leaves out a last attribute of less than two octets
    octets = tnef_stream(
        subject=subject, body=body, messages=inner, files=[(f"f{n}.bin", data) for n, data in enumerate(files)]
    )
    ours, theirs = read(octets), tnefparse.TNEF(octets)
    assert ours.texts[mapi.BODY].rstrip("\0") == theirs.body
    assert ours.texts[mapi.SUBJECT] in [p.data for p in theirs.mapiprops]
    whole = [item for item in theirs.attachments if not hasattr(item, "embed")]
    assert [(name, data) for name, data in ours.files] == [(item.name, item.data) for item in whole]
    embedded = [item.embed for item in theirs.attachments if hasattr(item, "embed")]
    assert [item.texts[mapi.BODY] for item in ours.messages] == [item.body for item in embedded]


def test_html_and_its_code_page() -> None:
    message = read(tnef_stream(html="<p>Größe</p>".encode()))
    assert (message.html, message.codepage) == ("<p>Größe</p>".encode(), 65001)


def test_what_is_attached_to_the_attached_is_not_read_at_depth_0() -> None:
    nested = tnef_stream(body="a", messages=[tnef_stream(body="b", messages=[tnef_stream(body="c")])])
    (first,) = read(nested).messages
    assert (first.texts[mapi.BODY], first.messages) == ("b", [])


def test_a_thousand_levels_are_no_recursion() -> None:
    stream = tnef_stream(body="deep")
    for _ in range(200):
        stream = tnef_stream(messages=[stream])
    assert len(read(stream).messages) == 1


@pytest.mark.parametrize("octets", [b"", b"x", b"\x78\x9f\x3e", spam()])
def test_what_is_none_is_said_to_be_none(octets: bytes) -> None:
    with pytest.raises(TnefError):
        read(octets)


@given(st.binary(max_size=300))
def test_any_octets(data: bytes) -> None:
    read(b"\x78\x9f\x3e\x22\1\0" + data)
    for _, _, value in properties(memoryview(data)):
        assert len(value) <= len(data)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_counts_that_lie_cost_nothing(count: int, kind: int, values: int) -> None:
    lying = count.to_bytes(4, "little") + kind.to_bytes(2, "little") + b"\x37\0" + values.to_bytes(4, "little")
    assert len(list(properties(memoryview(lying + bytes(64))))) <= 20


def test_work_grows_no_faster_than_the_file() -> None:
    def prepare(size: int) -> Callable[[], object]:
        octets = tnef_stream(body="x") + (b"\1\x0c\x80\7\0\0\0\0\0\0\0") * (size // 11)
        return lambda: read(octets)

    assert_growth(prepare, 200_000, 1_600_000, 16)


def test_so_many_properties_and_no_more() -> None:
    number = struct.pack("<HHI", 3, 0x3FDE, 65001)
    assert len(list(properties(memoryview(struct.pack("<I", 2**32 - 1) + number * 10_005)))) == 10_000
