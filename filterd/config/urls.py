"""Owns the tables about lists of domains that are asked about the links of a message.  Must not know what is asked when."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from filterd.config.base import Domain, Network, Table


class UrlZoneConfig(Table):
    """One DNS list of domains (SURBL, URIBL, Spamhaus DBL style)."""

    zone: Domain
    """Zone, such as dbl.spamhaus.org."""
    weight: float = Field(default=2.5, ge=0, le=20)
    """Natural log-odds of spam when a domain of the message is listed, once for each table; all links together add at most 6, and never refuse alone. Default 2.5: with content alone it does not refuse either."""
    ask: tuple[Literal["domains", "hosts", "addresses"], ...] = Field(default=("domains",), strict=False, min_length=1)
    """What the zone is asked about: organizational domains, whole host names, IP addresses in links (SURBL and URIBL list them, Spamhaus DBL must not be asked). Default domains."""
    return_codes: tuple[Network, ...] = Field(default=("127.0.0.0/23",), strict=False)
    """Answers that count as listed, as addresses or networks; 127.255.255.x, 127.0.1.255 and 127.0.0.1 (you ask wrongly) never count. Default 127.0.0.0/23."""
    bitmask: int = Field(default=0, ge=0, le=255)
    """When not 0: the last octet of the answer must share a bit with it. Default 0."""
    reply_text: str = Field(default="", max_length=240)
    """Public text when the score refuses and this listing weighs most; {domain} is replaced. Default: a text that names the zone."""
    health: bool = True
    """Believe the zone only while it lists test_listed and does not list test_unlisted (RFC 5782 section 5). Default true."""
    test_listed: Domain = "test"
    """Name that the zone always lists. Default test (RFC 5782)."""
    test_unlisted: Domain = "invalid"
    """Name that the zone never lists. Default invalid (RFC 5782)."""


class UrlListsConfig(Table):
    """Which domains of a message DNS lists are asked about; the lists themselves are [[url_lists.zones]]."""

    identities: tuple[Literal["header_from", "mail_from", "helo"], ...] = Field(
        default=("header_from", "mail_from"), strict=False
    )
    """Domains that are asked about beside those of links: of the author, of the reverse-path, of the HELO name. Default header_from and mail_from."""
    domains_per_message: int = Field(default=20, ge=1, le=50)
    """Different organizational domains of one message that are asked about, the most suspicious first. Default 20."""
    zones: tuple[UrlZoneConfig, ...] = Field(default=(), strict=False)
    """Lists that are asked. Default none."""
