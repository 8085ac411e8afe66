"""Owns the tables of what people here set: lists, settings, tokens, users of the add-in.  Must not know who uses them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text, UniqueConstraint

from filterd.storage.tables.base import Serial, metadata

list_entries = Table(
    "list_entries",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("network", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("comment", Text, nullable=False),
    Column("expires_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("network", "kind"),
    sqlite_autoincrement=True,
)

settings = Table(
    "settings",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("scopes", Text, nullable=False),  # JSON list
    Column("sha256", String(64), nullable=False),  # of the whole plain token
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

addin_users = Table(
    "addin_users",
    metadata,
    Column("user", String(64), primary_key=True),  # SHA-256 of the mailbox's unique id in Exchange's token
    Column("address", String(320), nullable=False),  # the mailbox that was named with it first
    Column("created_ms", BigInteger, nullable=False),
)
