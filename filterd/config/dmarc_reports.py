"""Owns the table of DMARC aggregate reports (RFC 9990).  Must not know what the values are used for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from filterd.config.base import Port, Table
from filterd.mail.address import is_address_literal, is_domain, parse_mailbox


class DmarcReportsConfig(Table):
    """DMARC aggregate reports to the owners of the domains that write to us; off by default."""

    enabled: bool = False
    """Whether messages are counted and reports are sent. Default false."""
    email: str = ""
    """Mailbox that reports come from, author and reverse-path; its domain must pass DMARC, best without rua of its own. Default empty: must be set when enabled."""
    org_name: str = Field(default="", max_length=200)
    """Name of your organization, as it stands in reports. Default empty: the domain of email."""
    contact: str = Field(default="", max_length=500)
    """Further contact, such as a web page or a telephone number, as it stands in reports. Default empty."""
    host: str = ""
    """Name or address of a server that takes mail to other domains from us, such as a receive connector of Exchange for relay. Default empty: must be set when enabled."""
    port: Port = 25
    """TCP port of that server. Default 25."""
    tls: Literal["off", "opportunistic", "required"] = "opportunistic"
    """STARTTLS: never, when offered, or always. Default opportunistic."""
    tls_verify: bool = False
    """Verify that server's certificate. Default false."""
    tls_ca_file: Path | None = None
    """PEM file with the authorities to trust when tls_verify is on. Default none: those of the system."""
    dkim_domain: str = ""
    """Domain (d=) of our signature on reports, that of email or one above it. Default empty: reports are not signed here."""
    dkim_selector: str = ""
    """Selector (s=) of that signature. Default empty."""
    dkim_key_file: Path | None = None
    """PEM file with the private key of that signature, RSA or Ed25519. Default none."""
    rows_per_report: int = Field(default=1000, ge=1, le=100_000)
    """Most different rows kept for one domain and day; messages of further ones are not reported. Default 1000."""
    rows_per_day: int = Field(default=100_000, ge=1, le=10_000_000)
    """Most rows kept for one day, all domains together (about 0.5 KB each, 10 KB at most). Default 100000."""
    report_bytes: int = Field(default=2_000_000, ge=20_000, le=50_000_000)
    """Largest report, as a message; rows with the fewest messages are left out first. Default 2000000."""
    reports_per_minute: int = Field(default=30, ge=1, le=10_000)
    """Most reports sent in a minute, all nodes together. Default 30."""
    reports_per_day: int = Field(default=5000, ge=1, le=1_000_000)
    """Most reports sent in 24 hours, all nodes together. Default 5000."""
    spread_hours: float = Field(default=4.0, ge=0, le=20)
    """Reports of a day are sent at random moments of so many hours after its end (UTC). Default 4."""
    keep_days: int = Field(default=7, ge=2, le=90)
    """How long counts and reports are kept after their day, sent or not. Default 7."""

    @model_validator(mode="after")
    def _can_send(self) -> DmarcReportsConfig:
        mailbox = parse_mailbox(self.email) if self.email.isascii() else None
        # Written out again it must be the same (no final dot): it is what mail from and to it is known by.
        if self.email and (mailbox is None or is_address_literal(mailbox.domain) or str(mailbox) != self.email):
            raise ValueError("email: expected a mailbox such as dmarc-reports@example.org")
        if self.enabled and mailbox is None:
            raise ValueError("email: expected the mailbox that reports come from, as enabled = true")
        if not self.host.isprintable() or " " in self.host:
            raise ValueError("host: expected a name or an address such as exchange.example.org")
        if self.enabled and not self.host:
            raise ValueError("host: expected the server that takes mail to other domains, as enabled = true")
        parts = (self.dkim_domain, self.dkim_selector, self.dkim_key_file)
        if any(parts) and not all(parts):
            raise ValueError("dkim_domain, dkim_selector and dkim_key_file must be given together")
        if self.dkim_domain:
            if not is_domain(self.dkim_domain) or not is_domain(self.dkim_selector):
                raise ValueError("dkim_domain, dkim_selector: expected names such as example.org and s1")
            domain = f".{mailbox.domain_key}" if mailbox else ""
            if not domain.endswith(f".{self.dkim_domain.lower()}"):
                raise ValueError("dkim_domain: expected the domain of email or one above it, or reports fail DMARC")
        return self
