"""Owns the TLS settings of a listener: certificates, versions, tickets.  RFC 3207, 8996.  Must not know connections."""

from __future__ import annotations

import ssl
from pathlib import Path

from filterd.config import Config, ListenerConfig
from filterd.errors import ConfigError


def server_context(listener: ListenerConfig) -> ssl.SSLContext | None:
    """The settings of a listener, None when it has no certificate or no TLS.  Raises ConfigError that names the keys.

    With both certificates OpenSSL shows the ECDSA one to every client that knows it (the server's order counts) and the
    RSA one to the others.  Session tickets are on, OpenSSL's default; their key belongs to this context alone, so that a
    client is recognised by the worker that knows it and shakes hands in full with the others.
    """
    if listener.tls == "none" or listener.tls_certificate is None or listener.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    _load(context, listener.name, "tls_certificate", listener.tls_certificate, "tls_key", listener.tls_key)
    if listener.tls_rsa_certificate is not None and listener.tls_rsa_key is not None:
        names = ("tls_rsa_certificate", "tls_rsa_key")
        _load(context, listener.name, names[0], listener.tls_rsa_certificate, names[1], listener.tls_rsa_key)
    return context


def check_certificates(config: Config) -> None:
    """Raises ConfigError that names the keys when a listener's certificate cannot be used."""
    for listener in config.listeners:
        server_context(listener)


def _load(context: ssl.SSLContext, listener: str, chain_name: str, chain: Path, key_name: str, key: Path) -> None:
    try:
        # An encrypted key would make OpenSSL ask on the terminal.
        context.load_cert_chain(chain, key, password=lambda: b"")
    except (OSError, ssl.SSLError, ValueError) as error:
        expected = "expected a PEM chain and its key, without a pass phrase"
        raise ConfigError(
            [f"listeners ({listener}): {chain_name} and {key_name}: {expected}, {chain}, {key}: {error}"]
        ) from None
