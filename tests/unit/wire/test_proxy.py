"""A PROXY header is believed to the letter or not at all, and nobody can make us hold more than one."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.wire.proxy import V1_MAX, V2_MAX_BLOCK, Endpoint, ProxyError, ProxyHeader, ProxyParser, crc32c

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = ipaddress.ip_address("192.0.2.1").packed + ipaddress.ip_address("198.51.100.2").packed + b"\x30\x39\x00\x19"
V6 = ipaddress.ip_address("2001:db8::1").packed + ipaddress.ip_address("2001:db8::2").packed + b"\x30\x39\x00\x19"


def end(text: str, port: int) -> Endpoint:
    return ipaddress.ip_address(text), port


def v2(block: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2) + block


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2) + value


def read(octets: bytes, step: int = 0) -> tuple[ProxyHeader | None, bytes]:
    """The header and what came behind it."""
    parser = ProxyParser()
    for at in range(0, len(octets), step or max(len(octets), 1)):
        header = parser.feed(octets[at : at + (step or len(octets))])
        if header is not None:
            return header, parser.rest + octets[at + (step or len(octets)) :]
    return None, b""


def test_version_1_and_what_follows_it() -> None:
    for step in (0, 1, 7):
        header, rest = read(b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\nEHLO x\r\n", step)
        assert header == ProxyHeader(1, end("192.0.2.1", 12345), end("198.51.100.2", 25))
        assert rest == b"EHLO x\r\n"


def test_version_2_and_what_follows_it() -> None:
    for step in (0, 1, 7):
        assert read(v2(V4) + b"EHLO x\r\n", step) == (
            ProxyHeader(2, end("192.0.2.1", 12345), end("198.51.100.2", 25)),
            b"EHLO x\r\n",
        )
        assert read(v2(V6, 0x21), step)[0] == ProxyHeader(2, end("2001:db8::1", 12345), end("2001:db8::2", 25))


def test_an_ipv4_address_in_ipv6_clothes_is_ipv4() -> None:
    header, _ = read(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 1 2\r\n")
    assert header == ProxyHeader(1, end("192.0.2.1", 1), end("198.51.100.2", 2))


@pytest.mark.parametrize(
    "octets",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 anything\r\n",
        v2(b"", 0x00, 0x20),
        v2(V4, 0x11, 0x20),
        v2(b"no TLV at all", 0x00),
        v2(b"unix" * 54, 0x31),
        v2(V4, 0x10),
    ],
)
def test_without_internet_addresses_the_connection_keeps_its_own(octets: bytes) -> None:
    for step in (0, 1):
        header, rest = read(octets, step)
        assert header is not None
        assert (header.source, header.destination, rest) == (None, None, b"")


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO x\r\n",
        b"PROXY1",
        b"proxy TCP4",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 012345 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 123456 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 1 25\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 1 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 25 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 25\r\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 25\r\n",
        b"PROXY TCP6 \xff ::1 1 25\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN \r \r\n",
        b"PROXY UNKNOWN " + b"x" * V1_MAX,
        v2(V4, 0x11, 0x11),
        v2(V4, 0x11, 0x22),
        v2(V4, 0x12),
        v2(V4, 0x13),
        v2(V4, 0x41),
        v2(V4[:-1]),
        v2(V6[:-1], 0x21),
        v2(b"x" * 215, 0x31),
        v2(V4 + b"\4"),
        v2(V4 + b"\4\0"),
        v2(V4 + b"\4\0\1"),
        v2(V4 + tlv(3, b"")),
        v2(V4 + tlv(3, b"1234")),
        SIGNATURE + b"\x21\x11" + (V2_MAX_BLOCK + 1).to_bytes(2),
    ],
)
def test_what_is_not_to_the_letter_is_refused(octets: bytes) -> None:
    for step in (0, 1):
        with pytest.raises(ProxyError):
            read(octets, step)


def test_the_checksum_is_verified() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    for before, after in ((b"", b""), (tlv(4, b"pad"), tlv(2, b"mail.example.org"))):
        open_ = v2(V4 + before + tlv(3, bytes(4)) + after)
        at = 16 + len(V4) + len(before) + 3
        good = open_[:at] + crc32c(open_).to_bytes(4) + open_[at + 4 :]
        assert read(good)[0] == ProxyHeader(2, end("192.0.2.1", 12345), end("198.51.100.2", 25))
        with pytest.raises(ProxyError, match="wrong"):
            read(good[:16] + b"\0" + good[17:])
    block = V4 + tlv(3, bytes(4))
    twice = v2(block + tlv(3, crc32c(v2(block + tlv(3, bytes(4)))).to_bytes(4)))
    twice = twice[:31] + crc32c(twice[:31] + bytes(4) + twice[35:]).to_bytes(4) + twice[35:]
    with pytest.raises(ProxyError, match="malformed"):
        read(twice)


def test_a_header_is_refused_before_its_block_is_here() -> None:
    parser = ProxyParser()
    with pytest.raises(ProxyError, match="more than"):
        parser.feed(SIGNATURE + b"\x21\x11\xff\xff")


def test_feeding_after_the_header_is_a_fault() -> None:
    parser = ProxyParser()
    assert parser.feed(v2(V4))
    with pytest.raises(ValueError, match="ended"):
        parser.feed(b"x")


starts = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 192.0.2.1 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21\x11\0"]
)


@settings(max_examples=400)
@given(starts, st.binary(max_size=60), st.integers(1, 9))
def test_whole_and_piecewise_agree(start: bytes, more: bytes, step: int) -> None:
    def outcome(size: int) -> tuple[ProxyHeader | None, bytes] | str:
        try:
            return read(start + more, size)
        except ProxyError:
            return "refused"

    assert outcome(0) == outcome(step)


addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2001:db8::/32")
ports = st.integers(0, 65535)


@given(
    addresses, ports, ports, st.lists(st.tuples(st.sampled_from([1, 2, 4, 5, 32]), st.binary(max_size=20)), max_size=4)
)
def test_both_versions_say_the_same(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, source: int, destination: int, tlvs: list[tuple[int, bytes]]
) -> None:
    text = f"PROXY TCP{address.version} {address} {address} {source} {destination}\r\n"
    block = address.packed * 2 + source.to_bytes(2) + destination.to_bytes(2) + b"".join(tlv(*item) for item in tlvs)
    for octets in (text.encode(), v2(block, 0x11 if address.version == 4 else 0x21)):
        header, _ = read(octets)
        assert header is not None
        assert (header.source, header.destination) == ((address, source), (address, destination))


@pytest.mark.parametrize("unit", [tlv(4, b""), tlv(2, b"x" * 9)])
def test_time_grows_linearly(unit: bytes) -> None:
    def cost(octets: int) -> float:
        block = V4 + tlv(3, bytes(4)) + unit * (octets // len(unit))
        header = v2(block)
        header = header[:31] + crc32c(header).to_bytes(4) + header[35:]
        best = 9.0
        for _ in range(5):
            start = time.process_time()
            for _ in range(20):
                read(header, 100)
            best = min(best, time.process_time() - start)
        return best

    small, large = cost(500), cost(4000)
    assert large < 24 * max(small, 0.001)


@pytest.mark.parametrize("start", [b"PROXY ", b"PROXY UNKNOWN ", SIGNATURE + b"\x21\x11\x10\x00"])
def test_a_header_without_end_is_cut_off(start: bytes) -> None:
    parser = ProxyParser()
    assert parser.feed(start) is None

    def go_on() -> None:
        for _ in range(V2_MAX_BLOCK):
            parser.feed(b"x")

    with pytest.raises(ProxyError):
        go_on()
