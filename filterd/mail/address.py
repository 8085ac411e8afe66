"""Owns the mailbox grammar of the envelope.  RFC 5321 4.1.2, 4.1.3, 4.5.3.1; RFC 6531 3.3.

What is tolerated beyond the grammar is listed, with reasons, in docs/smtp.md.  Must not know who may receive mail.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

# RFC 5321 4.5.3.1.2 and .3: 255 octets of domain, 256 of path with its brackets.
MAX_DOMAIN = 255
MAX_MAILBOX = 254
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]"  # RFC 5321 atext; RFC 6531 adds UTF8-non-ascii
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*"')  # Quoted-string: qtextSMTP / quoted-pairSMTP
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_\-\u0080-\U0010ffff]{1,63}(?<!-)")  # underscore: seen in real HELO and hosts


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A local-part and a domain, as written; `key` is the form to compare.

    Attributes:
        local: local-part as written, with quotes if it had them.
        domain: domain or address literal as written.
    """

    local: str
    domain: str

    @property
    def key(self) -> str:
        """Lower-case address for look-ups (Exchange compares proxyAddresses without case)."""
        return f"{self.local.lower()}@{self.domain_key}"

    @property
    def domain_key(self) -> str:
        """Domain to compare: ASCII letters in lower case.  Others stay: U+212A, a Kelvin sign, is no k in DNS."""
        return self.domain.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def is_domain(text: str) -> bool:
    """Whether `text` is an RFC 5321 Domain (one label is enough; underscores are tolerated)."""
    name = text.removesuffix(".")
    # Regular expressions for what is beyond ASCII let controls and lone surrogates pass; isprintable does not.
    if not name or not name.isprintable() or len(name.encode()) > MAX_DOMAIN:
        return False
    return all(_LABEL.fullmatch(label) for label in name.split("."))


def is_address_literal(text: str) -> bool:
    """Whether `text` is an RFC 5321 address-literal: [192.0.2.1] or [IPv6:2001:db8::1]; no other tag is registered."""
    if not (text.startswith("[") and text.endswith("]")) or "%" in text:  # ipaddress takes any text as a zone
        return False
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        return False
    return True


def parse_mailbox(text: str) -> Mailbox | None:
    """The mailbox in `text` (without angle brackets), or None when it is not one.  Linear in its length.

    A local-part may be longer than 64 octets (RFC 5321 4.5.3.1.1): reverse-paths of mailing lists are, and forward-paths of what
    comes back to them; Exchange takes 315 (facts: exchange.md 2.2).  The whole may not exceed MAX_MAILBOX.
    """
    if len(text) > MAX_MAILBOX or not text.isprintable() or len(text.encode()) > MAX_MAILBOX:
        return None
    local, at, domain = text.rpartition("@")
    if not at or not (_DOT_STRING.fullmatch(local) or _QUOTED.fullmatch(local)):
        return None
    if not (is_domain(domain) or is_address_literal(domain)):
        return None
    return Mailbox(local, domain.removesuffix("."))  # tolerated, but the same mailbox as without


def split_path(argument: str) -> tuple[str, str] | None:
    """`<path> parameters` as (path without brackets and source route, parameters); None when it is not of that form.

    RFC 5321 4.1.1.2: angle brackets are required; a source route is accepted and dropped (appendix C).
    """
    text = argument.strip(" ")
    if not text.startswith("<"):
        return None
    quoted = False
    index = 1
    while index < len(text):
        char = text[index]
        if char == "\\" and quoted:
            index += 1
        elif char == '"':
            quoted = not quoted
        elif char == ">" and not quoted:
            break
        index += 1
    else:
        return None
    path, rest = text[1:index], text[index + 1 :]
    if rest and not rest.startswith(" "):
        return None
    if path.startswith("@"):
        route, colon, path = path.partition(":")
        if not colon or not all(hop[:1] == "@" and is_domain(hop[1:]) for hop in route.split(",")):
            return None
    return path, rest.strip(" ")
