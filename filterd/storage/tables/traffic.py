"""Owns the tables of what is remembered of traffic: campaigns, greylist, correspondents.  Must not know who uses them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text

from filterd.storage.tables.base import MessageId, Serial, metadata

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", MessageId, primary_key=True),  # that of its first message
    Column("sketch", LargeBinary, nullable=False),  # of the first message; empty when only its very text belongs to it
    Column("packed_keys", LargeBinary, nullable=False),  # little-endian int64, those in campaign_keys
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("repeated", Boolean(create_constraint=False), nullable=False),  # whether there is more than one message
    Column("header_from", Text, nullable=False),  # of the first message
    Column("subject", Text, nullable=False),
    Index("ix_campaigns_age", "repeated", "last_ms", "id"),
)

campaign_keys = Table(
    "campaign_keys",
    metadata,
    Column("key", Serial, primary_key=True, autoincrement=False),
    Column("campaign", MessageId, nullable=False),
)

campaign_hours = Table(
    "campaign_hours",
    metadata,
    Column("campaign", MessageId, primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False, index=True),  # since 1970-01-01 00:00 UTC
    Column("forwarded", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
)

# No foreign keys: a message may be counted whose ledger rows come later, and rows go by their own age.
campaign_members = Table(
    "campaign_members",
    metadata,
    Column("message_id", MessageId, primary_key=True),
    Column("campaign", MessageId, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("like_hour", BigInteger, nullable=False),  # messages like it that had come in this hour and the one before
    Column("like_day", BigInteger, nullable=False),  # … in this hour and the 24 before
    Index("ix_campaign_members_newest", "campaign", "at_ms"),
)

greylist = Table(
    "greylist",
    metadata,
    Column("key", String(64), primary_key=True),  # SHA-256: no addresses are kept
    Column("kind", String(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_greylist_age", "kind", "at_ms"),
)

# Whom our own people wrote to, as keyed hashes (adapters/site_key.py): nobody can read addresses out of it.
correspondents = Table(
    "correspondents",
    metadata,
    Column("key", LargeBinary(16), primary_key=True),
    Column("last_ms", BigInteger, nullable=False, index=True),  # to the day
)
