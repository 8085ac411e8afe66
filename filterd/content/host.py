"""Owns which host a web address means, as browsers read it: WHATWG URL standard (host parsing, IPv4 parser), UTS #46.

Own code, because mail programs hand an address to a browser as it stands, with all that a browser forgives and a strict
reader does not: backslashes, tabs, percent signs in the host, full-width dots, addresses as one number.
Must not know where an address was found, nor what is suspicious about it.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from filterd.content.suffixes import is_top_level, organizational

MAX_AUTHORITY = 1_000  # octets of host and port; a host of 253 with each octet as %XX has 759
MAX_ADDRESS = 2_000  # octets behind the host that are looked at for other addresses
_MAX_NAME = 253  # RFC 1035 2.3.4
_MAX_LABEL = 63
_MAX_U_LABELS = 8  # as in auth/names: each costs ten microseconds
_MAX_KNOWN = 8_192

_SCHEME = re.compile(rb"(https?|ftp|wss?):[/\\]*|[/\\]{2,}(?=[^/\\])|(?=www\.[^\s/]{1,200}\.)")
_AUTHORITY_END = re.compile(rb"[/\\?#]")
_CONTROLS = bytes(range(33))  # WHATWG: C0 controls and blanks around an address are dropped …
_DROPPED = b"\t\r\n"  # … and these wherever they stand
# UTS #46 "ignored": soft hyphen, zero-width characters, variation selectors.
_IGNORED = re.compile("[\u00ad\u034f\u180b-\u180f\u200b-\u200d\u2060\u2064\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}")
# What may stand in an address in running text; other characters (quotation marks, brackets of any script) end it.
_IN_TEXT = re.compile("[\\w.\\-@:%\\[\\]\u3002\uff0e\uff61]*")


@dataclass(frozen=True, slots=True)
class Host:
    """Where an address leads.

    Attributes:
        name: lower-case A-labels without final dot, or an IP address as text.
        domain: organizational domain of the name; empty for an IP address.
    """

    name: str
    domain: str

    @property
    def is_address(self) -> bool:
        """Whether it is an IP address."""
        return not self.domain


@dataclass(frozen=True, slots=True)
class Address:
    """A web address.

    Attributes:
        scheme: http, https, ftp …; empty when none was written.
        userinfo: whether something stands before an "@" in front of the host, which people take for the host.
        rest: path, query and fragment as octets.
    """

    scheme: str
    host: Host
    userinfo: bool = False
    rest: bytes = b""


def read_address(target: bytes, running_text: bool = False) -> Address | None:
    """The web address in a lower-case attribute; None for other schemes, relative ones, and what no browser opens.

    `running_text`: what follows may be the sentence that it stands in.
    """
    text = target.strip(_CONTROLS).translate(None, _DROPPED)  # whole: blanks or a user name may be as long as one likes
    match = _SCHEME.match(text)
    if match is None:
        return None
    end = _AUTHORITY_END.search(text, match.end())
    stop = end.start() if end else len(text)
    before, at, host_and_port = text[match.end() : stop].rpartition(b"@")
    if len(host_and_port) > MAX_AUTHORITY:
        return None
    host = _host(host_and_port, running_text)
    if host is None:
        return None
    return Address((match[1] or b"").decode(), host, bool(at and before), text[stop : stop + MAX_ADDRESS])


@lru_cache(_MAX_KNOWN)
def _host(octets: bytes, running_text: bool) -> Host | None:
    if octets.startswith(b"["):
        inner, closed, _ = octets[1:].partition(b"]")
        return _ipv6(inner) if closed else None
    name = octets.partition(b":")[0]  # the port, be it one or not: some programs drop what they cannot read
    if b"%" in name:
        name = unquote_to_bytes(name)
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    if running_text:
        text = _IN_TEXT.match(text)[0].rstrip(".-_")  # type: ignore[index]  # the expression matches anything
    host = read_name(text)
    if running_text and not text.isascii() and (host is None or not is_top_level(host.name.rpartition(".")[2])):
        first = next(index for index, char in enumerate(text) if not char.isascii())
        host = read_name(text[:first].rstrip(".-_")) or host  # no blank between the address and the next word
    return host


def read_name(text: str) -> Host | None:
    """The host with this name, also an IPv4 address in any of its notations; None when no browser takes it."""
    name = text if text.isascii() else _IGNORED.sub("", unicodedata.normalize("NFKC", text.lower()[:MAX_AUTHORITY]))
    name = name.replace("\u3002", ".").lower().rstrip(".")
    if not name.isascii():
        name = _a_labels(name)
    if "." not in name and not name[:1].isdigit():
        return None  # a name of some local network: nobody else gets there
    if not 0 < len(name) <= _MAX_NAME or _NAME.fullmatch(name) is None:
        return None
    if _is_number(name.rpartition(".")[2]):
        address = _ipv4(name)
        return None if address is None else Host(address, "")
    return Host(name, organizational(name)) if "." in name else None


def _a_labels(name: str) -> str:
    """Each label in ASCII; empty when one has no such form.  Not by the library's "idna": IDNA 2003 makes ss of ß."""
    labels = name.split(".")
    if len(name) > _MAX_NAME or sum(not label.isascii() for label in labels) > _MAX_U_LABELS:
        return ""
    try:
        return ".".join(
            label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in labels
        )
    except UnicodeError:
        return ""


def u_label(label: str) -> str:
    """The letters of an A-label, or the label itself where there are none behind it."""
    if not label.startswith("xn--") or len(label) > _MAX_LABEL:
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError, OverflowError):
        return label


def _is_number(label: str) -> bool:
    """WHATWG "ends in a number": such a name is an IPv4 address or nothing."""
    return label.isdigit() or (label[:2] == "0x" and all(char in "0123456789abcdef" for char in label[2:]))


def _ipv4(name: str) -> str | None:
    """WHATWG IPv4 parser: one to four numbers, decimal, octal (0…) or hexadecimal (0x…); the last fills what is left."""
    parts = name.split(".")
    if len(parts) > 4:
        return None
    numbers: list[int] = []
    for part in parts:
        if not _is_number(part) or len(part) > 40:
            return None
        base, digits = (16, part[2:]) if part[:2] == "0x" else (8, part[1:]) if part[0] == "0" else (10, part)
        if base == 8 and ("8" in digits or "9" in digits):
            return None
        numbers.append(int(digits, base) if digits else 0)
    *first, last = numbers
    if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        return None
    value = last + sum(number << (24 - 8 * index) for index, number in enumerate(first))
    return str(ipaddress.IPv4Address(value))


def _ipv6(octets: bytes) -> Host | None:
    try:
        address = ipaddress.IPv6Address(octets.decode("ascii").partition("%")[0])
    except ValueError:
        return None
    return Host(str(address.ipv4_mapped or address), "")
