"""Owns the configuration: one frozen model per TOML table.  Unknown key or bad value = an error with the key's path.

The sample file and docs/configuration.md are generated from these models (filterd print-config).
Must not know what the values are used for.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from filterd.config.attachments import AttachmentsConfig
from filterd.config.base import Table
from filterd.config.campaigns import CampaignsConfig
from filterd.config.directory import CallAheadConfig, LdapConfig, PushConfig, RecipientsConfig
from filterd.config.dmarc_reports import DmarcReportsConfig
from filterd.config.edge import (
    AuthConfig,
    ClientsConfig,
    DnsblConfig,
    GreylistConfig,
    LimitsConfig,
    ListenerConfig,
    ListsConfig,
)
from filterd.config.exchange import ExchangeConfig, ExchangeLogsConfig, OutboundConfig, OutboundDkimConfig
from filterd.config.explain import explain
from filterd.config.impersonation import ImpersonationConfig, PersonConfig
from filterd.config.learning import LearningConfig, ReportsConfig
from filterd.config.mail import (
    ApiConfig,
    ArcConfig,
    DnsConfig,
    LogConfig,
    ModelConfig,
    PolicyConfig,
    ServerConfig,
    StorageConfig,
    UpstreamConfig,
)
from filterd.config.malware import MalwareConfig
from filterd.config.urls import UrlListsConfig, UrlZoneConfig
from filterd.errors import ConfigError

__all__ = [
    "ACTIVE_CONFIG",
    "SEED_MODEL",
    "ApiConfig",
    "ArcConfig",
    "AttachmentsConfig",
    "AuthConfig",
    "CallAheadConfig",
    "CampaignsConfig",
    "ClientsConfig",
    "Config",
    "DmarcReportsConfig",
    "DnsConfig",
    "DnsblConfig",
    "ExchangeConfig",
    "ExchangeLogsConfig",
    "GreylistConfig",
    "ImpersonationConfig",
    "LdapConfig",
    "LearningConfig",
    "LimitsConfig",
    "ListenerConfig",
    "ListsConfig",
    "LogConfig",
    "MalwareConfig",
    "ModelConfig",
    "OutboundConfig",
    "OutboundDkimConfig",
    "PersonConfig",
    "PolicyConfig",
    "PushConfig",
    "RecipientsConfig",
    "ReportsConfig",
    "ServerConfig",
    "StorageConfig",
    "Table",
    "UpstreamConfig",
    "UrlListsConfig",
    "UrlZoneConfig",
    "load_active",
    "load_config",
    "parse_config",
]

SEED_MODEL = Path(__file__).resolve().parents[2] / "models" / "seed"


class Config(Table):
    """The whole configuration file."""

    server: ServerConfig = ServerConfig()
    listeners: tuple[ListenerConfig, ...] = Field(default=(ListenerConfig(),), strict=False, min_length=1)
    limits: LimitsConfig = LimitsConfig()
    clients: ClientsConfig = ClientsConfig()
    greylist: GreylistConfig = GreylistConfig()
    auth: AuthConfig = AuthConfig()
    upstream: UpstreamConfig = UpstreamConfig()
    recipients: RecipientsConfig = RecipientsConfig()
    ldap: tuple[LdapConfig, ...] = Field(default=(), strict=False)
    push: PushConfig = PushConfig()
    callahead: CallAheadConfig = CallAheadConfig()
    exchange: ExchangeConfig = ExchangeConfig()
    outbound: OutboundConfig = OutboundConfig()
    dns: DnsConfig = DnsConfig()
    dnsbl: tuple[DnsblConfig, ...] = Field(default=(), strict=False)
    url_lists: UrlListsConfig = UrlListsConfig()
    lists: ListsConfig = ListsConfig()
    arc: ArcConfig = ArcConfig()
    impersonation: ImpersonationConfig = ImpersonationConfig()
    policy: PolicyConfig = PolicyConfig()
    model: ModelConfig = ModelConfig()
    learning: LearningConfig = LearningConfig()
    reports: ReportsConfig = ReportsConfig()
    malware: MalwareConfig = MalwareConfig()
    attachments: AttachmentsConfig = AttachmentsConfig()
    storage: StorageConfig = StorageConfig()
    campaigns: CampaignsConfig = CampaignsConfig()
    dmarc_reports: DmarcReportsConfig = DmarcReportsConfig()
    api: ApiConfig = ApiConfig()
    log: LogConfig = LogConfig()
    exchange_logs: ExchangeLogsConfig = ExchangeLogsConfig()

    @model_validator(mode="after")
    def _listeners_agree(self) -> Config:
        names = [listener.name for listener in self.listeners]
        for number, listener in enumerate(self.listeners):
            where = f"listeners ({listener.name})"
            if listener.name in names[:number]:
                raise ValueError(f"{where}: name: expected a name of its own for each listener")
            if listener.auth and self.auth.file is None and not self.auth.ldap_url:
                raise ValueError(f"{where}: auth: expected auth.file or auth.ldap_url, there are no accounts")
            for other in self.listeners[:number]:
                if not listener.port or (other.address, other.port) != (listener.address, listener.port):
                    continue
                if (other.tls == "implicit") != (listener.tls == "implicit") or other.proxy_from != listener.proxy_from:
                    text = f"expected the same proxy_from, and tls = implicit for both or none, as {other.name}"
                    raise ValueError(f"{where}: {text} has on this address and port")
                if set(other.sources or ("all",)) & set(listener.sources or ("all",)):
                    raise ValueError(f"{where}: sources: expected others than those of {other.name}, on the same port")
            if listener.trust == "outbound" and not self.outbound.host:
                raise ValueError(
                    f"{where}: trust = outbound needs outbound.host, the server that delivers to the internet"
                )
            self.limits_of(listener)
        return self

    @model_validator(mode="after")
    def _directories_agree(self) -> Config:
        names = [table.name for table in self.ldap]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"ldap ({name}): name: expected a name of its own for each directory")
        return self

    @property
    def list_zones(self) -> tuple[str, ...]:
        """Zones of all DNS lists, of addresses and of domains."""
        return (*(zone.zone for zone in self.dnsbl), *(zone.zone for zone in self.url_lists.zones))

    @property
    def endpoints(self) -> tuple[tuple[ListenerConfig, ...], ...]:
        """The listeners by address and port, in the order of the file; each group has one socket."""
        groups: dict[tuple[str, int, str], list[ListenerConfig]] = {}
        for listener in self.listeners:
            key = (listener.address, listener.port, "" if listener.port else listener.name)  # port 0: one of its own
            groups.setdefault(key, []).append(listener)
        return tuple(tuple(group) for group in groups.values())

    def limits_of(self, listener: ListenerConfig) -> LimitsConfig:
        """The limits of one listener: [limits] with what it has of its own.  Raises ValueError that names the key."""
        if not listener.limits:
            return self.limits
        try:
            return LimitsConfig.model_validate({**self.limits.model_dump(), **listener.limits})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key, message = first["loc"][0], first["msg"]
            raise ValueError(
                f"listeners ({listener.name}): limits.{key}: {message}, found {first['input']!r}"
            ) from None

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
        raise ConfigError([f"{source}: {explain(item)}" for item in error.errors(include_url=False)]) from None
    if not config.server.state_dir.is_absolute():
        server = config.server.model_copy(update={"state_dir": folder / config.server.state_dir})
        config = config.model_copy(update={"server": server})
    return config


_PATH_KEYS = {
    ("server", "state_dir"),
    ("listeners", "tls_certificate"),
    ("listeners", "tls_key"),
    ("listeners", "tls_rsa_certificate"),
    ("listeners", "tls_rsa_key"),
    ("auth", "file"),
    ("auth", "ldap_ca_file"),
    ("upstream", "tls_ca_file"),
    ("arc", "key_file"),
    ("recipients", "file"),
    ("recipients", "hashed_file"),
    ("ldap", "password_file"),
    ("ldap", "ca_file"),
    ("outbound", "tls_ca_file"),
    ("outbound.dkim", "key_file"),
    ("model", "path"),
    ("reports", "exchange_certificate"),
    ("dmarc_reports", "tls_ca_file"),
    ("dmarc_reports", "dkim_key_file"),
}


def _prepare(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Path keys as absolute Path objects and whole numbers as floats where needed (TOML has no path type)."""

    def convert(table: str, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(convert(table, item) for item in value)
        if isinstance(value, dict):
            return {
                key: folder / item
                if (table, key) in _PATH_KEYS and isinstance(item, str)
                else convert(f"{table}.{key}", item)
                for key, item in value.items()
            }
        return value

    return {key: convert(key, value) for key, value in data.items()}
