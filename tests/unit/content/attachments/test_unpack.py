"""Unpacking gives what was asked for and never more."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.content.attachments.finding import BadArchiveError
from filterd.content.attachments.unpack import bunzip, gunzip, inflate, raw_lzma, unxz
from tests.support.growth import assert_growth


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PAIRS = [(deflate, inflate), (gzip.compress, gunzip), (bz2.compress, bunzip), (lzma.compress, unxz)]


@pytest.mark.parametrize(("pack", "unpack"), PAIRS)
@given(data=st.binary(max_size=3_000), limit=st.integers(0, 4_000))
def test_the_first_octets_and_no_more(pack, unpack, data: bytes, limit: int) -> None:  # type: ignore[no-untyped-def]
    assert unpack(pack(data), limit) == data[:limit]


@pytest.mark.parametrize(("pack", "unpack"), PAIRS)
def test_what_is_readable_of_a_broken_stream(pack, unpack) -> None:  # type: ignore[no-untyped-def]
    data = bytes(range(256)) * 400
    packed = pack(data)
    part = unpack(packed[: len(packed) // 2], 1 << 20)
    assert data.startswith(part)


@pytest.mark.parametrize("unpack", [inflate, gunzip, bunzip, unxz])
def test_no_stream_at_all_says_so(unpack) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadArchiveError):
        unpack(b"\xff\xff\xff\xff no stream \xff\xff", 100)


def test_streams_one_behind_the_other() -> None:
    assert gunzip(gzip.compress(b"one ") + gzip.compress(b"two") + bytes(512), 100) == b"one two"
    assert bunzip(bz2.compress(b"one ") + bz2.compress(b"two"), 100) == b"one two"
    assert unxz(lzma.compress(b"one ") + lzma.compress(b"two"), 100) == b"one two"


def test_memory_follows_the_limit_not_the_claim() -> None:
    packed = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        assert len(gunzip(packed, 100_000)) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_dictionary_beyond_measure_is_refused_before_it_is_made() -> None:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 30, "lc": 3, "lp": 0, "pb": 2}]
    with pytest.raises(BadArchiveError, match="dictionary"):
        raw_lzma(b"\0" * 100, filters, 100)


def test_many_small_streams_cost_no_more_than_their_octets() -> None:
    one = gzip.compress(b"x")
    assert_growth(lambda size: lambda: gunzip(one * size, 1 << 20), 300, 3_000, 20)


def test_a_dictionary_that_needs_too_much_memory_is_refused() -> None:
    """xz's block header names it: one octet (xz file format 5.3.1), with a checksum behind it."""

    def with_dictionary(octet: int) -> bytes:
        octets = bytearray(lzma.compress(b"x" * 100, preset=0))
        header = octets[12 : 12 + 4 * octets[12]]
        at = header.index(b"\x21\x01") + 2
        header[at] = octet
        return bytes(octets[:12] + header + zlib.crc32(header).to_bytes(4, "little") + octets[12 + len(header) + 4 :])

    assert unxz(with_dictionary(28), 100) == b"x" * 100  # 64 MB
    with pytest.raises(BadArchiveError, match="xz"):
        unxz(with_dictionary(32), 100)  # 256 MB
