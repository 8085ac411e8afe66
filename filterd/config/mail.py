"""Owns the tables about mail itself: this server, upstream, DNS, policy, model, storage, side service, logs.

Must not know what the values are used for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from filterd.config.base import Domain, Endpoint, Host, HostName, OptionalHostName, Port, Seconds, Table


class ServerConfig(Table):
    """Who this filter is and where it keeps its state."""

    hostname: HostName = "filter.example.org"
    """Name in the greeting, EHLO towards upstream and Received; must differ from Exchange's connector Fqdn. Default filter.example.org."""
    authserv_id: OptionalHostName = ""
    """Identifier in Authentication-Results, of the form of a host name; empty means `hostname`. Default empty."""
    state_dir: Path = Path("state")
    """Folder of the database, large quarantined bodies, models and run files. Default state, beside the configuration file."""
    workers: int = Field(default=2, ge=1, le=64)
    """Number of SMTP worker processes. Default 2."""
    drain_seconds: Seconds = 30.0
    """How long running transactions may take to finish on shutdown or reload. Default 30."""


class UpstreamConfig(Table):
    """The next hop: Exchange."""

    host: Host = "127.0.0.1"
    """Name or address of the receive connector. Default 127.0.0.1."""
    port: Port = 2526
    """TCP port of the receive connector. Default 2526."""
    tls: Literal["off", "opportunistic", "required"] = "opportunistic"
    """STARTTLS: never, when offered, or always. Default opportunistic."""
    tls_verify: bool = False
    """Verify upstream's certificate (Exchange's default one is self-signed). Default false."""
    tls_ca_file: Path | None = None
    """PEM file with the authorities to trust when tls_verify is on. Default none: those of the system."""
    chunking: bool = True
    """Send messages with BDAT when upstream offers CHUNKING (RFC 3030), with DATA otherwise. Default true."""
    connections: int = Field(default=8, ge=1, le=1000)
    """Most connections of one worker to upstream (Exchange allows 20 from one source). Default 8."""
    reuse: int = Field(default=100, ge=1)
    """Messages over one connection before it is renewed. Default 100."""
    idle_seconds: Seconds = 30.0
    """How long an unused connection is kept. Default 30."""
    connect_seconds: Seconds = 10.0
    """Longest wait for connection, greeting, EHLO and STARTTLS together. Default 10."""
    command_seconds: Seconds = 60.0
    """Longest wait for each answer to MAIL, RCPT and DATA. Default 60."""
    data_seconds: Seconds = 600.0
    """Longest wait for the answer after the final dot (Exchange makes its shadow copy first). Default 600."""


class DnsConfig(Table):
    """How DNS is asked."""

    servers: tuple[Endpoint, ...] = Field(default=(), strict=False)
    """Resolvers as address or address:port (IPv6 in brackets); a local validating resolver is best. Default: those of the system."""
    timeout_seconds: Seconds = 3.0
    """Longest wait for one question, all servers together. Default 3."""
    cache_entries: int = Field(default=20_000, ge=0)
    """Answers kept in each worker. Default 20000."""
    lookups_per_message: int = Field(default=250, ge=20, le=2000)
    """Different questions that one message may cost, and one connection before it; what exceeds it is unknown, never guilty. Default 250."""


class PolicyConfig(Table):
    """What a score leads to.  Scores are natural log-odds of spam."""

    prior: float = Field(default=0.0, ge=-10, le=10)
    """Log-odds before any evidence. Default 0."""
    tag_score: float = 2.0
    """From here on mail is forwarded with an SCL above Exchange's junk threshold. Default 2."""
    quarantine_score: float = 4.0
    """From here on mail is quarantined. Default 4."""
    reject_score: float = 8.0
    """From here on mail is refused, if evidence other than the message itself reaches reject_without_content. Default 8."""
    reject_without_content: float = 3.0
    """Score that a refusal needs of client, SPF, DKIM, DMARC and lists of domains together; content, header, links, attachments and claimed names do not count. Default 3."""
    content_cap: float = Field(default=5.0, ge=0, le=20)
    """Most that content may add or take away. Default 5: content alone can quarantine, never refuse."""
    # With one finding of weight 1 (a missing Date, no reverse name) it stays below quarantine_score; a DMARC report, a list post and
    # a signing service's mail, all honest, were quarantined by 3.9 and a name server that did not answer.
    unfamiliar_content_cap: float = Field(default=2.9, ge=0, le=20)
    """Most that content may add when the model has seen too little like the message; wherever it stands, such content never quarantines or refuses alone. Default 2.9."""
    own_domain: Literal["score", "quarantine", "reject"] = "quarantine"
    """What mail from the internet leads to whose author claims one of our accepted domains without SPF, DKIM or DMARC behind it: only its weight (3), quarantine, or refusal. Default quarantine."""
    impersonation: Literal["score", "quarantine"] = "score"
    """What mail from the internet leads to that bears a protected person's name, or an address of ours as its name, at a foreign address: only its weight (2), or quarantine. Default score."""
    blocked_senders: Literal["score", "tag", "quarantine", "reject"] = "tag"
    """What mail of a sender leads to whom the recipient has blocked: nothing here, Junk, quarantine, or refusal; Outlook's own is Junk. Default tag."""
    safe_senders: bool = True
    """Whether a sender whom the recipient trusts, and who is authenticated, lowers suspicion; malware, DMARC failure and claims of our own domains count in any case. Default true."""
    observe: bool = False
    """Decide and record everything, but forward all mail that the directory knows. Default false."""
    observe_checks: tuple[str, ...] = Field(default=(), strict=False)
    """Checks whose findings are recorded with weight 0. Default none."""

    @model_validator(mode="after")
    def _ordered(self) -> PolicyConfig:
        if not self.tag_score < self.quarantine_score < self.reject_score:
            raise ValueError("expected tag_score < quarantine_score < reject_score")
        return self


class ArcConfig(Table):
    """Authenticated Received Chain (RFC 8617): whose word counts for mail that was changed on its way, and our own seal."""

    trusted_sealers: tuple[HostName, ...] = Field(default=(), strict=False)
    """Domains (d= of their seals) whose DMARC pass is believed when ours fails, such as those of mailing lists you know. Default none."""
    seal: bool = False
    """Add a set of our own to what is handed to upstream; Exchange Online can be told to trust it. Default false."""
    domain: Domain | None = None
    """Domain of our seal (d=). Default none."""
    selector: Domain | None = None
    """Selector of our seal (s=): the public key stands at selector._domainkey.domain. Default none."""
    key_file: Path | None = None
    """PEM file with the private key of our seal, RSA (2048 bits) or Ed25519. Default none."""

    @model_validator(mode="after")
    def _sealing_is_whole(self) -> ArcConfig:
        if self.seal and (self.domain is None or self.selector is None or self.key_file is None):
            raise ValueError("seal = true needs domain, selector and key_file")
        return self


class ModelConfig(Table):
    """Which trained model scores content."""

    path: Path | None = None
    """Folder with manifest.json; Default none: the model promoted by the API, else the seed model."""
    abstain_log_odds: float = Field(default=1.0, ge=0, le=10)
    """Content log-odds nearer to 0 than this count as unsure and weigh nothing. Default 1."""


class StorageConfig(Table):
    """Ledger and quarantine."""

    url: str = ""
    """URL of the database, for several nodes `postgresql://user:password@host/name` (docs/postgresql.md). Default empty: filterd.db in state_dir (SQLite)."""
    inline_bytes: int = Field(default=1_048_576, ge=0)
    """Quarantined messages above this (compressed) are files, smaller ones lie in the database; with PostgreSQL all do. Default 1048576."""
    min_free_bytes: int = Field(default=104_857_600, ge=0)
    """With less free space in state_dir new mail gets 452 4.3.1. Default 104857600."""
    keep_days: int = Field(default=30, ge=1, le=3650)
    """Days that quarantined mail and evidence are kept. Default 30."""

    @property
    def is_of_one_node(self) -> bool:
        """Whether no other node can have the same database."""
        return self.url == "" or self.url.startswith("sqlite")


class ApiConfig(Table):
    """The side service."""

    enabled: bool = True
    """Whether `serve` starts it. Default true."""
    address: str = "127.0.0.1"
    """Address to listen on. Default 127.0.0.1."""
    port: Port = 8025
    """TCP port to listen on. Default 8025."""


class LogConfig(Table):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important line that is written. Default info."""
    format: Literal["json", "text"] = "json"
    """One JSON object a line, or text for people. Default json."""
