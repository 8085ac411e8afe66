"""Owns the tables of learning: reports, pins, models and what happened to them.  Must not know who uses them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, LargeBinary, String, Table, Text, false, text

from filterd.storage.tables.base import MessageId, Serial, metadata

_WORD = ("state", "label", "trusted", "message_id", "name", "holds")

reports = Table(
    "reports",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("message_id", MessageId, index=True),  # may be a message we never had
    Column("label", String(16), nullable=False),
    Column("reporter", Text, nullable=False),
    Column("source", String(64), nullable=False),
    Column("features", LargeBinary),
    Column("note", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("withdrawn_ms", BigInteger),
    Column("withdrawn_by", Text, nullable=False),
    Column("campaign", MessageId),  # of its message; kept, because campaign_members expires
    Column("state", String(16), nullable=False, server_default="counting"),  # counting, held, overruled, withdrawn
    Column("holds", Text, nullable=False, server_default="[]"),  # JSON list: why it waits for a review
    Column("trusted", Boolean(create_constraint=False), nullable=False, server_default=false()),  # an administrator's
    Column("name", Text, nullable=False, server_default=""),  # Message-ID field of the message
    Column("decided_ms", BigInteger),  # of the review
    Column("decided_by", Text, nullable=False, server_default=""),
    Index("ix_reports_state", "state", "id"),
    # Two orders of all that a word weighs by: SQLite would otherwise read past the features of each report (benchmarks/reports.py).
    Index("ix_reports_words", "reporter", "created_ms", *_WORD, "campaign"),
    Index("ix_reports_campaign", "campaign", "reporter", *_WORD),
    Index("ix_reports_empty", "id", sqlite_where=text("features IS NULL"), postgresql_where=text("features IS NULL")),
    sqlite_autoincrement=True,
)

pins = Table(
    "pins",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("report_id", BigInteger, index=True),  # that it came from; gone with it
    Column("message_id", MessageId, index=True),
    Column("features", LargeBinary, nullable=False),
    Column("header_from", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    sqlite_autoincrement=True,
)

models = Table(
    "models",
    metadata,
    Column("name", String(100), primary_key=True),  # of the folder below state_dir/models
    Column("model", String(100), nullable=False),  # as in the manifest and in evidence records
    Column("parent", String(100), nullable=False),  # folder that was active when it was made; "seed" is the shipped one
    Column(
        "state", String(16), nullable=False
    ),  # candidate, refused, unproven, passed, shadow, active, retired, rolled_back
    Column("position", BigInteger, nullable=False),  # last report of the corpus ledger that it could learn
    Column("gate", Text, nullable=False),  # JSON: the gate's report
    Column("shadow", Text, nullable=False),  # JSON: how far live traffic was compared, and what came of it
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

model_events = Table(
    "model_events",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("name", String(100), nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)

shadow_flips = Table(
    "shadow_flips",
    metadata,
    Column("name", String(100), primary_key=True),  # folder of the shadow model
    Column("message_id", MessageId, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("action", String(32), nullable=False),  # under the model in use
    Column("would", String(32), nullable=False),  # under the shadow model
    Column("log_odds", Float, nullable=False),  # of the content, by the model in use
    Column("would_log_odds", Float, nullable=False),
)
