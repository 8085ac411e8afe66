"""Owns the configuration: one frozen model per TOML table.  Unknown key or bad value = an error with the key's path.

The sample file and docs/configuration.md are generated from these models (filterd print-config).
Must not know what the values are used for.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from filterd.errors import ConfigError
from filterd.mail.address import is_domain

SEED_MODEL = Path(__file__).resolve().parent.parent / "models" / "seed"


def _domain(text: str) -> str:
    name = text.lower().rstrip(".")
    if not is_domain(name):
        raise ValueError("expected a domain name such as mail.example.org")
    return name


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("expected an address or a network such as 192.0.2.0/24") from None


Domain = Annotated[str, AfterValidator(_domain)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Table(BaseModel):
    """Base of all tables: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class ServerConfig(Table):
    """Who this filter is and where it keeps its state."""

    hostname: Domain = "filter.example.org"
    """Name in the greeting, EHLO towards upstream and Received; must differ from Exchange's connector Fqdn. Default filter.example.org."""
    authserv_id: str = ""
    """Identifier in Authentication-Results; empty means `hostname`. Default empty."""
    state_dir: Path = Path("state")
    """Folder of the database, large quarantined bodies, models and run files. Default state, beside the configuration file."""
    workers: int = Field(default=2, ge=1, le=64)
    """Number of SMTP worker processes. Default 2."""
    drain_seconds: Seconds = 30.0
    """How long running transactions may take to finish on shutdown or reload. Default 30."""


class ListenerConfig(Table):
    """One address and port on which SMTP is spoken."""

    name: str = Field(default="internet", pattern=r"^[a-z][a-z0-9_-]{0,30}$")
    """Name in logs and the ledger. Default internet."""
    address: str = "127.0.0.1"
    """Address to listen on. Default 127.0.0.1."""
    port: Port = 2525
    """TCP port to listen on. Default 2525."""
    trust: Literal["internet", "internal"] = "internet"
    """Who connects here: internet (all checks) or internal (no connection checks). Default internet."""
    tls_certificate: Path | None = None
    """PEM file with the certificate chain; with tls_key it makes STARTTLS available. Default none."""
    tls_key: Path | None = None
    """PEM file with the private key of tls_certificate. Default none."""

    @model_validator(mode="after")
    def _both(self) -> ListenerConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be given together")
        return self


class LimitsConfig(Table):
    """Bounds on everything that comes from outside."""

    message_bytes: int = Field(default=37_748_736, ge=1024)
    """Largest message, in octets; announced as SIZE. Default 37748736 (Exchange's connector default)."""
    spool_bytes: int = Field(default=1_048_576, ge=4096)
    """Messages above this are kept in a temporary file while in work. Default 1048576."""
    line_bytes: int = Field(default=65_536, ge=1000)
    """Longest body line, in octets; RFC 5321 says 998, real senders exceed it. Default 65536."""
    header_bytes: int = Field(default=262_144, ge=1024, le=1_048_576)
    """Largest header section, in octets (Exchange's MaxHeaderSize); above it the answer is 552 5.3.4. Default 262144."""
    recipients: int = Field(default=200, ge=1, le=100_000)
    """Most recipients of one transaction (Exchange's connector default). Default 200."""
    connections: int = Field(default=1000, ge=1)
    """Most simultaneous connections of one worker. Default 1000."""
    connections_per_client: int = Field(default=50, ge=1)
    """Most simultaneous connections from one address to one worker. Default 50."""
    errors: int = Field(default=20, ge=1)
    """Refused commands in one connection before it is closed. Default 20."""
    commands: int = Field(default=100, ge=1)
    """Commands that bring no message nearer (NOOP, RSET, EHLO again and the like) before a connection is closed; counted anew after each message that is taken. Default 100."""
    transactions: int = Field(default=1000, ge=1)
    """Transactions in one connection before it is closed. Default 1000."""
    idle_seconds: Seconds = 300.0
    """Longest wait for the next command (RFC 5321 4.5.3.2.7). Default 300."""
    data_idle_seconds: Seconds = 180.0
    """Longest pause between two blocks of a message (RFC 5321 4.5.3.2.5). Default 180."""
    data_seconds: Seconds = 1800.0
    """Longest time for one whole message. Default 1800."""


class UpstreamConfig(Table):
    """The next hop: Exchange."""

    host: str = "127.0.0.1"
    """Name or address of the receive connector. Default 127.0.0.1."""
    port: Port = 2526
    """TCP port of the receive connector. Default 2526."""
    tls: Literal["off", "opportunistic", "required"] = "opportunistic"
    """STARTTLS: never, when offered, or always. Default opportunistic."""
    tls_verify: bool = False
    """Verify upstream's certificate (Exchange's default one is self-signed). Default false."""
    tls_ca_file: Path | None = None
    """PEM file with the authorities to trust when tls_verify is on. Default none: those of the system."""
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


class RecipientsConfig(Table):
    """Who may receive mail."""

    accepted_domains: tuple[Domain, ...] = Field(default=(), strict=False)
    """Domains we take mail for; for others the answer is 550 5.7.1. Default none."""
    relay_domains: tuple[Domain, ...] = Field(default=(), strict=False)
    """Accepted domains whose recipients are not looked up (internal relay). Default none."""
    file: Path | None = None
    """File with one address a line (# starts a comment); read again when it changes. Default none: every recipient of an accepted domain is known."""


class DnsConfig(Table):
    """How DNS is asked."""

    servers: tuple[str, ...] = Field(default=(), strict=False)
    """Resolvers as address or address:port (IPv6 in brackets); a local validating resolver is best. Default: those of the system."""
    timeout_seconds: Seconds = 3.0
    """Longest wait for one question, all servers together. Default 3."""
    cache_entries: int = Field(default=20_000, ge=0)
    """Answers kept in each worker. Default 20000."""


class DnsblConfig(Table):
    """One DNS block or allow list zone (RFC 5782)."""

    zone: Domain
    """Zone, such as zen.spamhaus.org."""
    weight: float = Field(default=3.0, ge=-20, le=20)
    """Natural log-odds of spam when listed; negative for an allow list. 8 or more refuses at once. Default 3."""
    return_codes: tuple[Network, ...] = Field(default=("127.0.0.0/24",), strict=False)
    """Answers that count as listed, as addresses or networks; 127.255.255.x never counts. Default 127.0.0.0/24."""
    bitmask: int = Field(default=0, ge=0, le=255)
    """When not 0: the last octet of the answer must share a bit with it. Default 0."""
    reply_text: str = Field(default="", max_length=240)
    """Public text when it refuses; {ip} is replaced. Default: a text that names the zone."""


class ListsConfig(Table):
    """Own IP lists; more entries are managed with `filterd lists` and the API."""

    allow: tuple[Network, ...] = Field(default=(), strict=False)
    """Clients that skip connection checks and are never refused for what they are. Default none."""
    block: tuple[Network, ...] = Field(default=(), strict=False)
    """Clients whose mail is refused. Default none."""
    refresh_seconds: Seconds = 5.0
    """How often workers look for changes made by API or command line. Default 5."""


class PolicyConfig(Table):
    """What a score leads to.  Scores are natural log-odds of spam."""

    prior: float = Field(default=0.0, ge=-10, le=10)
    """Log-odds before any evidence. Default 0."""
    tag_score: float = 2.0
    """From here on mail is forwarded with an SCL above Exchange's junk threshold. Default 2."""
    quarantine_score: float = 4.0
    """From here on mail is quarantined. Default 4."""
    reject_score: float = 8.0
    """From here on mail is refused, if evidence other than content reaches reject_without_content. Default 8."""
    reject_without_content: float = 3.0
    """Score of the evidence other than content that a refusal needs. Default 3."""
    content_cap: float = Field(default=5.0, ge=0, le=20)
    """Most that content may add or take away. Default 5: the seed model alone quarantines, never refuses."""
    observe: bool = False
    """Decide and record everything, but forward all mail that the directory knows. Default false."""
    observe_checks: tuple[str, ...] = Field(default=(), strict=False)
    """Checks whose findings are recorded with weight 0. Default none."""

    @model_validator(mode="after")
    def _ordered(self) -> PolicyConfig:
        if not self.tag_score < self.quarantine_score < self.reject_score:
            raise ValueError("expected tag_score < quarantine_score < reject_score")
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
    """SQLAlchemy URL of the database. Default empty: filterd.db in state_dir (SQLite)."""
    inline_bytes: int = Field(default=1_048_576, ge=0)
    """Quarantined messages above this (compressed) are files, smaller ones lie in the database. Default 1048576."""
    min_free_bytes: int = Field(default=104_857_600, ge=0)
    """With less free space in state_dir new mail gets 452 4.3.1. Default 104857600."""
    keep_days: int = Field(default=30, ge=1, le=3650)
    """Days that quarantined mail and evidence are kept. Default 30."""


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


class Config(Table):
    """The whole configuration file."""

    server: ServerConfig = ServerConfig()
    listeners: tuple[ListenerConfig, ...] = Field(default=(ListenerConfig(),), strict=False, min_length=1)
    limits: LimitsConfig = LimitsConfig()
    upstream: UpstreamConfig = UpstreamConfig()
    recipients: RecipientsConfig = RecipientsConfig()
    dns: DnsConfig = DnsConfig()
    dnsbl: tuple[DnsblConfig, ...] = Field(default=(), strict=False)
    lists: ListsConfig = ListsConfig()
    policy: PolicyConfig = PolicyConfig()
    model: ModelConfig = ModelConfig()
    storage: StorageConfig = StorageConfig()
    api: ApiConfig = ApiConfig()
    log: LogConfig = LogConfig()

    @property
    def authserv_id(self) -> str:
        """Identifier that we write into, and remove from others', Authentication-Results."""
        return self.server.authserv_id or self.server.hostname

    @property
    def state_dir(self) -> Path:
        """Absolute folder of our state."""
        return self.server.state_dir

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.storage.url or f"sqlite:///{self.state_dir / 'filterd.db'}"


def load_config(path: Path) -> Config:
    """Read and check a configuration file; relative paths are taken from its folder.

    Raises:
        ConfigError: names every bad key with its path, what was expected and what stands there.
    """
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    return parse_config(data, path.resolve().parent, str(path))


ACTIVE_CONFIG = "FILTERD_ACTIVE_CONFIG"  # names the file with what the supervisor has checked and its parts use


def load_active(path: Path) -> Config:
    """What the supervisor has checked last, or, for a part without one, the file at `path` itself.

    So a part that is started again gets the configuration that its sockets were made for, whatever stands on disk now.
    Raises ConfigError.
    """
    checked = os.environ.get(ACTIVE_CONFIG)
    if not checked:
        return load_config(path)
    try:
        return Config.model_validate_json(Path(checked).read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError([f"{checked}: the supervisor's copy of the configuration cannot be used: {error}"]) from None


def parse_config(data: dict[str, Any], folder: Path, source: str = "configuration") -> Config:
    """The configuration in `data`; see load_config."""
    try:
        config = Config.model_validate(_prepare(data, folder))
    except ValidationError as error:
        raise ConfigError([f"{source}: {_explain(item)}" for item in error.errors(include_url=False)]) from None
    if not config.server.state_dir.is_absolute():
        server = config.server.model_copy(update={"state_dir": folder / config.server.state_dir})
        config = config.model_copy(update={"server": server})
    return config


_PATH_KEYS = {
    ("server", "state_dir"),
    ("listeners", "tls_certificate"),
    ("listeners", "tls_key"),
    ("upstream", "tls_ca_file"),
    ("recipients", "file"),
    ("model", "path"),
}


def _prepare(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Path keys as absolute Path objects and whole numbers as floats where needed (TOML has no path type)."""

    def convert(table: str, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(convert(table, item) for item in value)
        if isinstance(value, dict):
            return {
                key: folder / item if (table, key) in _PATH_KEYS and isinstance(item, str) else item
                for key, item in value.items()
            }
        return value

    return {key: convert(key, value) for key, value in data.items()}


def _explain(item: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key; remove it or see docs/configuration.md for the keys of this table"
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if message else "bad value"
    found = item.get("input")
    shown = "" if isinstance(found, dict | tuple | list) or item["type"] == "missing" else f", found {found!r}"
    return f"{path or 'file'}: {message}{shown}"
