"""Owns what filterd needs from outside: all interfaces and their values, under one name.  Must not know any implementation."""

from __future__ import annotations

from filterd.directory.values import Directory, RecipientAnswer, RecipientStatus
from filterd.ports.custody import (
    OUTBOUND_DEFERRED,
    UPSTREAM_REFUSED,
    USER,
    Custody,
    EvidenceRecord,
    HeldMessage,
    MessageRecord,
    Outcome,
    TerminalState,
)
from filterd.ports.memory import (
    Campaigns,
    CampaignSighting,
    Correspondents,
    Greylist,
    Membership,
    Tallies,
)
from filterd.ports.servers import (
    Authenticator,
    Delivery,
    DnsAnswer,
    DnsStatus,
    Inspector,
    MalwareAnswer,
    MalwareScanner,
    MalwareStatus,
    Resolver,
    Upstream,
)

__all__ = [
    "OUTBOUND_DEFERRED",
    "UPSTREAM_REFUSED",
    "USER",
    "Authenticator",
    "CampaignSighting",
    "Campaigns",
    "Correspondents",
    "Custody",
    "Delivery",
    "Directory",
    "DnsAnswer",
    "DnsStatus",
    "EvidenceRecord",
    "Greylist",
    "HeldMessage",
    "Inspector",
    "MalwareAnswer",
    "MalwareScanner",
    "MalwareStatus",
    "Membership",
    "MessageRecord",
    "Outcome",
    "RecipientAnswer",
    "RecipientStatus",
    "Resolver",
    "Tallies",
    "TerminalState",
    "Upstream",
]
