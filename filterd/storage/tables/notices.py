"""Owns the tables of mail that we write ourselves: notices and DMARC reports.  Must not know who uses them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from filterd.storage.tables.base import Serial, State, metadata

notices = Table(
    "notices",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("recipient", String(1000), nullable=False),
    Column("octets", LargeBinary, nullable=False),  # the whole message
    Column("state", State, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("lease_ms", BigInteger, nullable=False),  # when an Active row may be claimed by another
    Column("last_error", Text, nullable=False),
    Column("last_reply", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Index("ix_notices_due", "state", "next_ms"),
    sqlite_autoincrement=True,
)

dmarc_domains = Table(
    "dmarc_domains",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),  # since 1970-01-01, UTC
    Column("policy_domain", String(253), primary_key=True),
    Column("row_count", Integer, nullable=False),
    Column("dropped", BigInteger, nullable=False),  # messages whose rows were beyond a bound
    Column("planned", Boolean(create_constraint=False), nullable=False),  # whether its reports are in dmarc_reports
    Column(
        "record", Text, nullable=False
    ),  # the policy record seen last; behind what is read without it: it may be long
    Index("ix_dmarc_domains_planned", "planned", "day", "policy_domain"),
)

dmarc_rows = Table(
    "dmarc_rows",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("key", String(64), primary_key=True),  # SHA-256 of policy domain and row
    Column("policy_domain", String(253), nullable=False),
    Column("row", Text, nullable=False),  # JSON
    Column("messages", BigInteger, nullable=False),
    Index("ix_dmarc_rows_domain", "day", "policy_domain"),
)

dmarc_reports = Table(
    "dmarc_reports",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("day", Integer, nullable=False),
    Column("policy_domain", String(253), nullable=False),
    Column("destination", String(254), nullable=False),  # mailbox, from the policy record
    Column("state", State, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False, index=True),  # the last attempt, 0 before the first
    Column("lease_ms", BigInteger, nullable=False),  # when an Active row may be claimed by another
    Column("last_error", Text, nullable=False),
    Column("last_reply", Text, nullable=False),
    UniqueConstraint("day", "policy_domain", "destination"),
    Index("ix_dmarc_reports_due", "state", "next_ms"),
    sqlite_autoincrement=True,
)
