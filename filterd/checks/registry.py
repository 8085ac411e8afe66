"""Owns the explicit, ordered list of all checks.  Must not know where their parts come from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from filterd.checks.base import Check
from filterd.checks.content import Content
from filterd.checks.dkim import Dkim
from filterd.checks.dmarc import Dmarc
from filterd.checks.dnsbl import Dnsbl
from filterd.checks.helo import Helo
from filterd.checks.lists import Lists, NetworkTable
from filterd.checks.recipient import RecipientCheck
from filterd.checks.spf import Spf
from filterd.checks.structure import Structure
from filterd.classifier.model import Model
from filterd.config import Config
from filterd.ports import Directory, Resolver

NAMES = ("lists", "dnsbl", "helo", "spf", "recipient", "dkim", "dmarc", "structure", "content")


@dataclass(frozen=True, slots=True)
class Parts:
    """What checks need from outside."""

    resolver: Resolver
    directory: Directory
    table: NetworkTable
    model: Model | None
    clock: Callable[[], float] = time.time


def build(config: Config, parts: Parts) -> list[Check]:
    """Every check, in the order of NAMES."""
    return [
        Lists(parts.table),
        Dnsbl(config.dnsbl, parts.resolver),
        Helo(frozenset({config.server.hostname, config.authserv_id.lower()})),
        Spf(parts.resolver),
        RecipientCheck(parts.directory),
        Dkim(parts.resolver, parts.clock),
        Dmarc(parts.resolver),
        Structure(config.authserv_id, parts.clock),
        Content(parts.model, config.model.abstain_log_odds),
    ]
