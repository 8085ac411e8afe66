"""Owns what the scripts for Exchange are made of, and what things of ours are called there.  Must not know PowerShell.

Whatever can be checked is checked here, so that no script is made of what cannot work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Literal

from filterd.mail.address import is_domain

CONNECTOR = "Inbound from filterd"
RULES = "filterd: SCL "  # each rule's name goes on with its number
ORGANIZATION_RIGHT = "ms-Exch-Accept-Headers-Organization"
OUTBOUND = "Outbound through filterd"
REPORTS = "Reports to filterd"
# Local part, and what people see in the address book; the contact's own name is `contact_name`.
REPORT_CONTACTS = (("spam", "Report spam"), ("phish", "Report phishing"), ("notspam", "Report not spam"))

_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")


class SetupError(ValueError):
    """A value that the script cannot be made with; the text says what was expected."""


def scl_pattern(scl: int | str) -> str:
    """What the transport rule looks for in our report field: fields are folded behind a semicolon only, never inside of this."""
    return f"SCL:{scl};"


def contact_name(local: str) -> str:
    """Name of a mail contact of ours: one that nobody else has, for undoing takes away what has it."""
    return f"filterd report {local}"


def _own_address(text: str) -> str:
    """One address that another machine can see us by, in its usual form.  Raises SetupError."""
    try:
        address = ip_address(text)
    except ValueError:
        raise SetupError(f"filter address: expected one IP address, found {text!r}") from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise SetupError(f"filter address: expected no zone behind it, found {text!r}")
        address = address.ipv4_mapped or address
    if address.is_unspecified or address.is_multicast or address.is_loopback or int(address) == 0xFFFFFFFF:
        remedy = "the connector would be for Exchange itself, for everybody or for nobody; give the one it sees us by"
        raise SetupError(f"filter address: {text} is no address of one machine in the network: {remedy}")
    return str(address)


@dataclass(frozen=True, slots=True)
class Setup:
    """What the scripts are made of.

    Attributes:
        servers: names of the Exchange servers that take mail from us, as Get-ExchangeServer shows them.
        addresses: our own IP addresses, as Exchange sees them, and where it reaches us.
        hostname: our name in EHLO; the connector must not have it.
        fqdn: name in the connector's greeting; empty leaves it to Exchange.
        thumbprint: certificate for STARTTLS; empty leaves it to Exchange.
        scl_mode: rule: transport rules on our field; organization: the right to send Exchange's own field.
        message_bytes, recipients: our largest message and most recipients, which the connector must take.
        port: port of the connector.
        report_domain: domain of the report addresses, whose mail comes to us at `report_port`; empty: none.
        tnef: whether winmail.dat goes to the report domain as to others.
        outbound: whether mail for the internet goes through us, at `outbound_port`.
    """

    servers: tuple[str, ...]
    addresses: tuple[str, ...]
    hostname: str = ""
    fqdn: str = ""
    thumbprint: str = ""
    scl_mode: Literal["rule", "organization"] = "rule"
    message_bytes: int = 37_748_736
    recipients: int = 200
    port: int = 25
    report_domain: str = ""
    report_port: int = 25
    tnef: bool = False
    outbound: bool = False
    outbound_port: int = 25

    def __post_init__(self) -> None:
        if not self.servers or not all(name.strip() for name in self.servers):
            raise SetupError("server: expected at least one name, as Get-ExchangeServer shows it")
        if not self.addresses:
            raise SetupError(
                "filter address: expected at least one address that Exchange sees us by, such as 10.0.0.25"
            )
        # Once each, written as Exchange writes them: what is compared with its lists must be equal.
        object.__setattr__(self, "addresses", tuple(dict.fromkeys(_own_address(text) for text in self.addresses)))
        object.__setattr__(self, "servers", tuple({name.lower(): name for name in self.servers}.values()))
        for what, name in (("fqdn", self.fqdn), ("report domain", self.report_domain)):
            if name and not (name.isascii() and is_domain(name)):
                raise SetupError(f"{what}: expected a name such as mail.example.org, found {name!r}")
        if self.fqdn and self.fqdn.lower() == self.hostname.lower():
            text = f"fqdn: {self.fqdn} is our own name (server.hostname); Exchange would see a loop (5.3.5)"
            raise SetupError(f"{text}: give the connector another one")
        if self.thumbprint and not _THUMBPRINT.fullmatch(self.thumbprint):
            raise SetupError("thumbprint: expected 40 hexadecimal digits, as Get-ExchangeCertificate shows them")


def changes(setup: Setup) -> list[str]:
    """What an administrator wants to know before running it, from the setup's choices; names of others do not stand in it."""
    found = [
        f"receive connector {CONNECTOR!r} on each of $servers, for $addresses only",
        f"transport rules '{RULES}-1' to '{RULES}9', for the whole organization"
        if setup.scl_mode == "rule"
        else f"on that connector the right {ORGANIZATION_RIGHT} for anonymous clients; transport rules '{RULES}*' go",
        "InternalSMTPServers of the organization: $addresses are added",
    ]
    if setup.report_domain:
        found.append(f"send connector and remote domain {REPORTS!r}, {len(REPORT_CONTACTS)} mail contacts")
    if setup.outbound:
        found.append(f"send connector {OUTBOUND!r} for all domains")
    return found
