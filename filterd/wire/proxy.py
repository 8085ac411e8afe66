"""Owns the reading of a PROXY protocol header, versions 1 and 2: who the client of a load balancer is.

The specification is HAProxy's proxy-protocol.txt, sections 2.1 and 2.2.  Must not know who is allowed to send one.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from filterd.errors import PermanentError
from filterd.mail.envelope import IPAddress, parse_ip

Endpoint = tuple[IPAddress, int]

V1_MAX = 107  # octets with CRLF; section 2.1: the worst case of "UNKNOWN" with two IPv6 addresses
# Octets behind the first 16 of version 2: the largest addresses (216) and TLVs.  The specification wants a header to fit
# into one segment of 536; a sender that adds a client certificate (DER, some 2 KB) exceeds that.
V2_MAX_BLOCK = 4096

_V1_START = b"PROXY "
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16
# A port has no leading zeros; an address has no zone.  ipaddress refuses leading zeros in IPv4.
_V1 = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)
_LOCAL, _PROXY = 0, 1
_UNSPEC, _INET, _INET6, _UNIX = 0, 1, 2, 3
_STREAM, _DGRAM = 1, 2
_ADDRESS_OCTETS = {_INET: 4, _INET6: 16, _UNIX: 108}
_TLV_CRC32C = 0x03
_CRC32C_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected; RFC 3309 and RFC 3720 B.4


class ProxyError(PermanentError):
    """The octets are no PROXY header that may be believed.  The connection must end: nothing in it can be trusted."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What the load balancer said.

    Attributes:
        version: 1 or 2.
        source: the client; None when the connection keeps its own addresses (LOCAL, UNKNOWN, no internet addresses).
        destination: what the client had connected to; None together with `source`.
    """

    version: int
    source: Endpoint | None = None
    destination: Endpoint | None = None


class ProxyParser:
    """Reads one header from the beginning of a connection; holds at most one header and one read.

    Attributes:
        rest: octets that came after the header.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._buffer = b""
        self._done = False

    def feed(self, data: bytes) -> ProxyHeader | None:
        """The header when it is complete, None when more octets are needed.  Raises ProxyError as soon as it is clear.

        After a header it must not be called again.
        """
        if self._done:
            raise ValueError("the header has ended")
        self._buffer += data
        length = self._length()
        if length is None:
            return None
        header, self.rest, self._buffer = self._buffer[:length], self._buffer[length:], b""
        self._done = True
        return _version_1(header[:-2]) if header.startswith(_V1_START) else _version_2(header)

    def _length(self) -> int | None:
        """Octets of the header; None while that is not known, or while it is not all here."""
        seen = self._buffer
        if seen[:1] == _V1_START[:1]:
            if not seen.startswith(_V1_START[: len(seen)]):
                raise ProxyError("not a PROXY header")
            end = seen.find(b"\n", 0, V1_MAX)
            if end >= 0:
                if seen[end - 1] != 13:
                    raise ProxyError("a version 1 header does not end with CRLF")
                return end + 1
            if len(seen) >= V1_MAX:
                raise ProxyError(f"a version 1 header is longer than {V1_MAX} octets")
            return None
        if not seen.startswith(_V2_START[: len(seen)]):
            raise ProxyError("not a PROXY header")
        if len(seen) < _V2_FIXED:
            return None
        _check_fixed(seen)
        length = _V2_FIXED + _block_octets(seen)
        return length if len(seen) >= length else None


# ---------------------------------------------------------------- version 1


def _version_1(line: bytes) -> ProxyHeader:
    if _V1_UNKNOWN.fullmatch(line) and b"\r" not in line:
        return ProxyHeader(1)
    match = _V1.fullmatch(line)
    if match is None:
        raise ProxyError("a version 1 header is malformed")
    family, source, destination, *ports = (group.decode("ascii") for group in match.groups())
    kind = ipaddress.IPv4Address if family == "4" else ipaddress.IPv6Address
    try:
        addresses = [parse_ip(str(kind(text))) for text in (source, destination)]
    except ValueError:
        raise ProxyError(f"a version 1 header has an address that is not IPv{family}") from None
    numbers = [int(port) for port in ports]
    if max(numbers) > 65535:
        raise ProxyError("a version 1 header has a port above 65535")
    return ProxyHeader(1, (addresses[0], numbers[0]), (addresses[1], numbers[1]))


# ---------------------------------------------------------------- version 2


def _block_octets(header: bytes) -> int:
    return int.from_bytes(header[14:16])


def _check_fixed(header: bytes) -> None:
    """Refuse what the first 16 octets already show to be wrong."""
    version, command = header[12] >> 4, header[12] & 15
    family, transport = header[13] >> 4, header[13] & 15
    if version != 2:
        raise ProxyError(f"version {version} is unknown")
    if command > _PROXY:
        raise ProxyError(f"command {command} is unknown")
    if family > _UNIX or transport > _DGRAM:
        raise ProxyError(f"address family {family} or transport {transport} is unknown")
    if command == _PROXY and transport == _DGRAM:
        raise ProxyError("SMTP does not come in datagrams")
    if _block_octets(header) > V2_MAX_BLOCK:
        raise ProxyError(f"a version 2 header has more than {V2_MAX_BLOCK} octets of addresses and TLVs")


def _version_2(header: bytes) -> ProxyHeader:
    command, family, transport = header[12] & 15, header[13] >> 4, header[13] & 15
    if command == _LOCAL or family == _UNSPEC or transport == 0:
        return ProxyHeader(2)  # section 2.2: the rest, whatever it is, must be ignored
    size = _ADDRESS_OCTETS[family]
    block = header[_V2_FIXED:]
    end = 2 * size + (0 if family == _UNIX else 4)
    if len(block) < end:
        raise ProxyError("a version 2 header is too short for its addresses")
    _check_tlvs(header, _V2_FIXED + end)
    if family == _UNIX:
        return ProxyHeader(2)
    addresses = [parse_ip(str(ipaddress.ip_address(block[at : at + size]))) for at in (0, size)]
    ports = [int.from_bytes(block[at : at + 2]) for at in (2 * size, 2 * size + 2)]
    return ProxyHeader(2, (addresses[0], ports[0]), (addresses[1], ports[1]))


def _check_tlvs(header: bytes, start: int) -> None:
    """Every TLV ends within the header, and a checksum, if there is one, is right."""
    checked = False
    while start < len(header):
        value = start + 3
        end = value + int.from_bytes(header[start + 1 : value])
        if value > len(header) or end > len(header):
            raise ProxyError("a TLV does not end within the header")
        if header[start] == _TLV_CRC32C:
            if checked or end - value != 4:
                raise ProxyError("the checksum is malformed")
            checked = True
            if crc32c(header[:value] + bytes(4) + header[end:]) != int.from_bytes(header[value:end]):
                raise ProxyError("the checksum is wrong")
        start = end


def _crc32c_row(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (_CRC32C_POLYNOMIAL if octet & 1 else 0)
    return octet


_CRC32C_TABLE = [_crc32c_row(octet) for octet in range(256)]


def crc32c(octets: bytes) -> int:
    """The CRC-32C of `octets`.  Python's libraries have none; headers are small, and few senders use it."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = _CRC32C_TABLE[(crc ^ octet) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
