"""Owns the arguments of XCLIENT: what a trusted front server says about its client.  Postfix XCLIENT_README; RFC 3461 4.

Must not know who is allowed to say it, nor when.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from filterd.mail.address import is_domain
from filterd.mail.envelope import IPAddress, parse_ip

# What may be announced behind the EHLO keyword, in the order of XCLIENT_README.
ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")

# XCLIENT_README keeps a command within 512 octets and a value within 255; xtext may triple one value.
_MAX_ARGUMENT = 1024
_MAX_VALUE = 255
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})+")  # Postfix also reads lower-case digits
_ENCODED = re.compile(rb"\+([0-9A-Fa-f]{2})")
_UNKNOWN = "[UNAVAILABLE]"
_UNKNOWN_NOW = "[TEMPUNAVAIL]"


@dataclass(frozen=True, slots=True)
class XclientArguments:
    """What one XCLIENT command said; None is what it did not mention, which stays as it was.

    Attributes:
        name: the client's verified host name, empty when it has none that can be known.
        name_deferred: the name could not be looked up for now.
        address: the client's address; IPv4-mapped IPv6 addresses are given as IPv4.
        address_unknown: the front server does not know the client's address.
        port: the client's TCP port, 0 when unknown.
        esmtp: whether the client had said EHLO.
        helo: what the client had said in HELO or EHLO, empty when unknown.
        login: who has authenticated, empty for nobody.
        destination: the address that the client had connected to, None also when it is unknown.
        destination_port: the TCP port that the client had connected to, 0 when unknown.
    """

    name: str | None = None
    name_deferred: bool = False
    address: IPAddress | None = None
    address_unknown: bool = False
    port: int | None = None
    esmtp: bool | None = None
    helo: str | None = None
    login: str | None = None
    destination: IPAddress | None = None
    destination_port: int | None = None


class _BadValueError(ValueError):
    """An attribute's value is not what it must be; the text says what is expected."""


def parse_xclient(argument: str) -> XclientArguments | str:
    """What `argument`, the text behind the verb, says; or what is wrong with it, fit for a 501."""
    if len(argument) > _MAX_ARGUMENT:
        return "XCLIENT is too long: send several commands"
    given: dict[str, str] = {}
    for word in argument.split(" "):
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        if not word:
            continue
        if keyword not in ATTRIBUTES or not equals:
            return f"Syntax: XCLIENT attribute=value, with attributes {' '.join(ATTRIBUTES)}"
        if keyword in given:
            return f"XCLIENT {keyword} given twice"
        text = _decode(value)
        if text is None:
            return f"XCLIENT {keyword} must be xtext of at most {_MAX_VALUE} printable characters"
        given[keyword] = text
    if not given:
        return f"Syntax: XCLIENT attribute=value, with attributes {' '.join(ATTRIBUTES)}"
    return _arguments(given)


def _decode(value: str) -> str | None:
    if not _XTEXT.fullmatch(value):
        return None
    octets = _ENCODED.sub(lambda match: bytes((int(match[1], 16),)), value.encode("ascii"))
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and len(octets) <= _MAX_VALUE else None


def _arguments(given: dict[str, str]) -> XclientArguments | str:
    values: dict[str, Any] = {}
    for keyword, text in given.items():
        unknown = text.upper() in (_UNKNOWN, _UNKNOWN_NOW)
        field, read, nothing = _READERS[keyword]
        try:
            values[field] = nothing if unknown and keyword != "PROTO" else read(text)
        except _BadValueError as error:
            return f"XCLIENT {keyword} must be {error}"
    values["name_deferred"] = given.get("NAME", "").upper() == _UNKNOWN_NOW
    values["address_unknown"] = "ADDR" in given and values["address"] is None
    return XclientArguments(**values)


def _address(text: str) -> IPAddress:
    try:
        if text[:5].upper() == "IPV6:":
            if "%" in text:
                raise ValueError
            return parse_ip(str(ipaddress.IPv6Address(text[5:])))
        return ipaddress.IPv4Address(text)
    except ValueError:
        raise _BadValueError(f"an IPv4 address, IPV6: with an IPv6 address, or {_UNKNOWN}") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise _BadValueError(f"a TCP port, or {_UNKNOWN}")
    return int(text)


def _protocol(text: str) -> bool:
    if text.upper() not in ("SMTP", "ESMTP"):
        raise _BadValueError("SMTP or ESMTP")
    return text.upper() == "ESMTP"


def _name(text: str) -> str:
    if not is_domain(text):
        raise _BadValueError(f"a host name, {_UNKNOWN} or {_UNKNOWN_NOW}")
    return text


# Attribute -> (field, what reads it, what the field is when the front server does not know).
_READERS: dict[str, tuple[str, Callable[[str], object], object]] = {
    "NAME": ("name", _name, ""),
    "ADDR": ("address", _address, None),
    "PORT": ("port", _port, 0),
    "PROTO": ("esmtp", _protocol, None),
    "HELO": ("helo", str, ""),
    "LOGIN": ("login", str, ""),
    "DESTADDR": ("destination", _address, None),
    "DESTPORT": ("destination_port", _port, 0),
}
