"""Owns the tables about Exchange: SCL, hybrid, the outbound smart host, logs in its formats.  Must not know what values are used for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from filterd.config.base import Domain, Host, OptionalHostName, Port, Seconds, Table


class ExchangeConfig(Table):
    """How mail is marked for Exchange, and what is done with its own cloud's mail."""

    scl_mode: Literal["rule", "organization"] = "rule"
    """How Exchange learns the SCL: rule: transport rules read it from X-Filterd-Report; organization: X-MS-Exchange-Organization-SCL, which needs one right on the receive connector. `filterd exchange setup` prints either. Default rule."""
    scl_allow_listed: int = Field(default=0, ge=-1, le=4)
    """SCL of mail from the own allow list; -1 makes Outlook and Exchange skip every filter of theirs. Default 0."""
    scl_tag: int = Field(default=5, ge=5, le=9)
    """SCL of tagged mail; Exchange moves what is above the junk threshold (4) to Junk. Default 5."""
    scl_quarantine: int = Field(default=6, ge=5, le=9)
    """SCL of quarantined mail, which it has when it is released as it was. Default 6."""
    mailbox_thresholds: bool = True
    """Follow SCL thresholds of single mailboxes, where the directory has them: junk, quarantine, reject; delete is done as quarantine. Default true."""
    hybrid: Literal["refuse", "pass", "filter"] = "refuse"
    """Mail of the own Exchange Online for Exchange here, which no filter may touch: refuse it loudly; pass it untouched, malware and the own block list apart; filter it like any other. Default refuse."""
    tenant_domains: tuple[Domain, ...] = Field(default=(), strict=False)
    """Domains of the own tenant beside the accepted ones, such as contoso.onmicrosoft.com and contoso.mail.onmicrosoft.com. Default none."""

    @model_validator(mode="after")
    def _ordered(self) -> ExchangeConfig:
        if self.scl_tag > self.scl_quarantine:
            raise ValueError("expected scl_tag not above scl_quarantine")
        return self


class OutboundDkimConfig(Table):
    """One key that mail of a domain is signed with; with two (RSA and Ed25519) there are two signatures."""

    domain: Domain = "example.org"
    """Author domain whose mail is signed, subdomains without a key of their own too. Default example.org."""
    selector: Domain = "filterd"
    """The public key stands at selector._domainkey.domain. Default filterd."""
    key_file: Path | None = None
    """PEM file with the private key, RSA (2048 bits) or Ed25519; `filterd exchange dkim` makes one. Default none."""

    @model_validator(mode="after")
    def _whole(self) -> OutboundDkimConfig:
        if self.key_file is None:
            raise ValueError("key_file: expected a PEM file with the private key")
        return self


class OutboundConfig(Table):
    """Mail of our own Exchange for the world (listener with trust = "outbound"): signed, counted, handed to the next mail server."""

    host: Host = ""
    """Next mail server, which delivers to the internet: a Postfix of yours, or your provider's. Default empty: no outbound mail."""
    port: Port = 25
    """TCP port of the next mail server. Default 25."""
    tls: Literal["off", "opportunistic", "required"] = "opportunistic"
    """STARTTLS: never, when offered, or always. Default opportunistic."""
    tls_verify: bool = False
    """Verify the next mail server's certificate. Default false."""
    tls_ca_file: Path | None = None
    """PEM file with the authorities to trust when tls_verify is on. Default none: those of the system."""
    helo: OptionalHostName = ""
    """Name in EHLO towards the next mail server; empty means server.hostname. Default empty."""
    connections: int = Field(default=8, ge=1, le=1000)
    """Most connections of one worker to the next mail server. Default 8."""
    recipients_per_hour: int = Field(default=1000, ge=0)
    """Recipients that one reverse-path may write to in an hour; beyond it 450 4.7.1: an account that was taken over must not ruin your name. 0 is no limit. Default 1000."""
    correspondent_days: int = Field(default=180, ge=0, le=3650)
    """How long those whom our people wrote to are remembered as weak evidence for their mail; 0 remembers nobody. Default 180."""
    data_seconds: Seconds = 600.0
    """Longest wait for the answer after the final dot. Default 600."""
    dkim: tuple[OutboundDkimConfig, ...] = Field(default=(), strict=False)
    """Keys to sign with. Default none."""


class ExchangeLogsConfig(Table):
    """Logs in the formats of Exchange, in state_dir/log/exchange, for programs that read those."""

    tracking: bool = False
    """Message tracking: MSGTRKyyyymmdd-n.LOG. Default false."""
    agent: bool = False
    """Agent log, one line for each recipient that was decided on: AGENTLOGyyyymmdd-n.LOG. Default false."""
    protocol: bool = False
    """SMTP protocol logs: RECVyyyymmdd-n.LOG and SENDyyyymmdd-n.LOG. Default false."""
    file_bytes: int = Field(default=10_485_760, ge=65_536)
    """Size from which a new file is begun. Default 10485760."""
    folder_bytes: int = Field(default=262_144_000, ge=1_048_576)
    """Most that one kind of log may take; the oldest files go. Default 262144000."""
    keep_days: int = Field(default=30, ge=1, le=3650)
    """Days that files are kept. Default 30."""
