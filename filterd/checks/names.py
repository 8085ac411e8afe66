"""Owns the names of all checks, in their order, and says whether a configuration names one that does not exist.

Apart from the registry, because the supervisor asks too: it runs no check, and shall not carry what they need.
"""

from __future__ import annotations

from filterd.config import Config
from filterd.errors import ConfigError

NAMES = (
    *(
        "lists",
        "dnsbl",
        "rdns",
        "helo",
        "manners",
        "rate",
        "spf",
        "spf_helo",
        "sender_rate",
        "recipient",
        "outbound_rate",
        "harvest",
        "greylist",
    ),
    *(
        "dkim",
        "arc",
        "dmarc",
        "spoof",
        "structure",
        "mime",
        "links",
        "url_lists",
        "impersonation",
        "correspondent",
        "content",
        "attachments",
        "malware",
        "senders",
        "hybrid",
    ),
)


def check_names(config: Config) -> None:
    """Raises ConfigError for a check that does not exist."""
    unknown = [name for name in config.policy.observe_checks if name not in NAMES]
    if unknown:
        raise ConfigError([f"policy.observe_checks: expected names of {', '.join(NAMES)}, found {unknown[0]!r}"])
