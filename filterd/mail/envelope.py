"""Owns the values that SMTP gives before the message: the connection and the mail transaction.  RFC 5321 2.3.1.

Must not know sockets or checks.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from filterd.mail.address import Mailbox

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U to misread on the telephone


def new_id(now_ms: int) -> str:
    """A message id: 16 characters, sorts by time (48 bits of milliseconds, 32 random bits).

    It stands in the SMTP reply, the header, the log, the ledger and the API.
    """
    number = (now_ms & (2**48 - 1)) << 32 | secrets.randbits(32)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(75, -5, -5))


class TrustClass(StrEnum):
    """Who a listener's clients are."""

    INTERNET = "internet"
    INTERNAL = "internal"
    AUTHENTICATED = "authenticated"
    REPORT = "report"
    OUTBOUND = "outbound"  # our own Exchange, with mail for the world


@dataclass(frozen=True, slots=True)
class Connection:
    """One SMTP connection.

    Attributes:
        client_ip: address of the SMTP client (IPv4-mapped IPv6 addresses are given as IPv4).
        client_port: TCP port of the client, 0 when unknown.
        client_name: forward-confirmed reverse DNS name, empty when unknown.
        listener: name of the listener that accepted it.
        trust: trust class of that listener.
        helo: argument of HELO/EHLO, empty before it.
        esmtp: whether EHLO was used.
        tls: protocol and cipher, empty for a clear-text connection.
        network: the client network that is counted as one client, in CIDR form; empty when nothing is counted.
        user: who has authenticated, empty for nobody.
        early: the client spoke before the greeting (RFC 5321 3.1).
        unasked_pipelining: the client sent commands behind HELO or EHLO before the answer (RFC 2920 3.1).
    """

    client_ip: IPAddress
    client_port: int = 0
    client_name: str = ""
    listener: str = "default"
    trust: TrustClass = TrustClass.INTERNET
    helo: str = ""
    esmtp: bool = True
    tls: str = ""
    network: str = ""
    user: str = ""
    early: bool = False
    unasked_pipelining: bool = False


@dataclass(frozen=True, slots=True)
class Recipient:
    """One accepted or asked-for forward-path.

    Attributes:
        mailbox: where the message shall go.
        parameters: ESMTP parameters of RCPT as written (NOTIFY, ORCPT), to hand on when the upstream knows them.
    """

    mailbox: Mailbox
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """One mail transaction.

    Attributes:
        id: our id of the message.
        reverse_path: None is the null reverse-path (bounces).
        parameters: ESMTP parameters of MAIL as written (SIZE, BODY, RET, ENVID, SMTPUTF8).
        recipients: the accepted forward-paths, in order; a session fills them in at end-of-data.
    """

    id: str
    reverse_path: Mailbox | None
    parameters: tuple[str, ...] = ()
    recipients: tuple[Recipient, ...] = field(default=())

    @property
    def mail_from(self) -> str:
        """The reverse-path as text; empty for the null reverse-path."""
        return str(self.reverse_path) if self.reverse_path else ""


def parse_ip(text: str) -> IPAddress:
    """An IP address without zone; IPv4-mapped IPv6 becomes IPv4.  Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
