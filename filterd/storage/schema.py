"""Owns the schema: every table, one for SQLite and PostgreSQL.  Must not know who reads or writes them.

The tables stand in tables/, by what they are about; all others take them from here, so that `metadata` never lacks one.
Times are Unix milliseconds.  Lists inside a row are JSON texts, because both databases can carry them unchanged.
A change here needs a new file in migrations/versions; a test compares the two.
"""

from __future__ import annotations

from filterd.storage.tables.base import metadata
from filterd.storage.tables.learning import model_events, models, pins, reports, shadow_flips
from filterd.storage.tables.mail import (
    evidence,
    ledger,
    messages,
    outbox,
    quarantine,
    quarantine_bodies,
    quarantine_copies,
)
from filterd.storage.tables.notices import dmarc_domains, dmarc_reports, dmarc_rows, notices
from filterd.storage.tables.site import addin_users, list_entries, settings, tokens
from filterd.storage.tables.traffic import (
    campaign_hours,
    campaign_keys,
    campaign_members,
    campaigns,
    correspondents,
    greylist,
)

__all__ = [
    "addin_users",
    "campaign_hours",
    "campaign_keys",
    "campaign_members",
    "campaigns",
    "correspondents",
    "dmarc_domains",
    "dmarc_reports",
    "dmarc_rows",
    "evidence",
    "greylist",
    "ledger",
    "list_entries",
    "messages",
    "metadata",
    "model_events",
    "models",
    "notices",
    "outbox",
    "pins",
    "quarantine",
    "quarantine_bodies",
    "quarantine_copies",
    "reports",
    "settings",
    "shadow_flips",
    "tokens",
]
