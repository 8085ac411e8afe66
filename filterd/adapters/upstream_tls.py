"""Owns the TLS settings for next hops, and the look at their authorities before a configuration is used.  Must not know connections."""

from __future__ import annotations

import ssl

from filterd.config import Config, DmarcReportsConfig, OutboundConfig, UpstreamConfig
from filterd.errors import ConfigError


def client_context(config: UpstreamConfig) -> ssl.SSLContext | None:
    """The TLS settings, None for tls = off.  Raises OSError when tls_ca_file cannot be used."""
    if config.tls == "off":
        return None
    context = ssl.create_default_context(cafile=config.tls_ca_file)
    if not config.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def check_authorities(config: Config, inbound_only: bool = False) -> None:
    """Read every tls_ca_file of next hops once, before the configuration is used.  Raises ConfigError.

    `inbound_only`: a process that starts serves inbound mail, whatever else cannot work.
    """
    hops: list[tuple[str, UpstreamConfig | DmarcReportsConfig | OutboundConfig, bool]] = [
        ("upstream", config.upstream, True),
        ("dmarc_reports", config.dmarc_reports, config.dmarc_reports.enabled),
        ("outbound", config.outbound, bool(config.outbound.host)),
    ]
    for name, hop, used in hops:
        if not used or hop.tls == "off" or hop.tls_ca_file is None or (inbound_only and name != "upstream"):
            continue
        try:
            ssl.create_default_context(cafile=hop.tls_ca_file)
        except OSError as error:
            problem = f"{name}.tls_ca_file: {hop.tls_ca_file} cannot be used: {error.strerror or error}"
            raise ConfigError([f"{problem}; expected certificates in PEM form"]) from None
