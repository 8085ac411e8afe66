"""Owns the tables: one schema for SQLite and PostgreSQL.  Must not know who reads or writes them.

Times are Unix milliseconds.  Lists inside a row are JSON texts, because both databases can carry them unchanged.
A change here needs a new file in migrations/versions; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

# SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY.
Serial = BigInteger().with_variant(Integer(), "sqlite")
MessageId = String(64)
State = String(32)

messages = Table(
    "messages",
    metadata,
    Column("id", MessageId, primary_key=True),
    Column("received_ms", BigInteger, nullable=False, index=True),
    Column("worker", String(200), nullable=False),  # "slot:boot id"
    Column("listener", String(64), nullable=False),
    Column("client_ip", String(64), nullable=False, index=True),
    Column("helo", Text, nullable=False),
    Column("mail_from", Text, nullable=False),
    Column("recipients", Text, nullable=False),  # JSON list of mailboxes
    Column("size", BigInteger, nullable=False),
    Column("header_from", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message_id", Text, nullable=False, index=True),
    # Whether every recipient has its terminal state; the few open ones have a small index of their own.
    Column("closed", Boolean(create_constraint=False), nullable=False),
    Index("ix_messages_open", "worker", sqlite_where=text("closed = 0"), postgresql_where=text("NOT closed")),
)

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("message_id", MessageId, ForeignKey("messages.id"), nullable=False),
    Column("recipient", String(1000), nullable=False),  # as written in RCPT
    Column("recipient_key", String(1000), nullable=False, index=True),  # lower case, to search by
    Column("state", State, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("reply", Text, nullable=False),
    Column("detail", Text, nullable=False),
    UniqueConstraint("message_id", "recipient"),  # exactly one terminal state
    sqlite_autoincrement=True,
)

evidence = Table(
    "evidence",
    metadata,
    Column("message_id", MessageId, ForeignKey("messages.id"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("action", String(32), nullable=False),
    Column("scl", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("probability", Float, nullable=False),
    Column("model", String(200), nullable=False),
    Column("record", LargeBinary, nullable=False),  # zlib of JSON: verdicts, evidence, extra
    Column("features", LargeBinary, nullable=False),  # little-endian uint32
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("message_id", MessageId, ForeignKey("messages.id"), primary_key=True),
    Column("received_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("scl", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("parameters", Text, nullable=False),  # JSON list: ESMTP parameters of MAIL
    Column("prepended", LargeBinary, nullable=False),
    Column("outbound", Boolean(create_constraint=False), nullable=False, server_default=false()),  # of our own Exchange
    Index("ix_quarantine_newest", "received_ms", "message_id"),
)

quarantine_copies = Table(
    "quarantine_copies",
    metadata,
    Column("message_id", MessageId, ForeignKey("quarantine.message_id"), primary_key=True),
    Column("recipient", String(1000), primary_key=True),
    Column("parameters", Text, nullable=False),  # JSON list: ESMTP parameters of RCPT
    Column("state", State, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("prepended", LargeBinary),  # where this copy has other fields of ours than the message; else NULL
    # The few report mails that wait to be read, among all that is held.
    Index(
        "ix_quarantine_copies_reports",
        "state",  # first: SQLite takes this index only where it serves as much as the one on the state alone
        "changed_ms",
        sqlite_where=text("reason = 'user_report'"),
        postgresql_where=text("reason = 'user_report'"),
    ),
)

quarantine_bodies = Table(
    "quarantine_bodies",
    metadata,
    Column("message_id", MessageId, ForeignKey("quarantine.message_id"), primary_key=True),
    Column("size", BigInteger, nullable=False),  # octets before compression
    Column("sha256", String(64), nullable=False),  # of the octets before compression
    Column("inline", LargeBinary),  # zlib; NULL when the octets lie in `file`
    Column("file", Text),  # path below the body folder; NULL when inline
)

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

addin_users = Table(
    "addin_users",
    metadata,
    Column("user", String(64), primary_key=True),  # SHA-256 of the mailbox's unique id in Exchange's token
    Column("address", String(320), nullable=False),  # the mailbox that was named with it first
    Column("created_ms", BigInteger, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("message_id", MessageId, ForeignKey("quarantine.message_id"), nullable=False, index=True),
    Column("recipient", String(1000), nullable=False),
    Column("parameters", Text, nullable=False),  # JSON list: ESMTP parameters of RCPT
    Column("state", State, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("lease_ms", BigInteger, nullable=False),  # when an Active row may be claimed by another
    Column("last_error", Text, nullable=False),
    Column("last_reply", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Index("ix_outbox_due", "state", "next_ms"),
    sqlite_autoincrement=True,
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

settings = Table(
    "settings",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

greylist = Table(
    "greylist",
    metadata,
    Column("key", String(64), primary_key=True),  # SHA-256: no addresses are kept
    Column("kind", String(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_greylist_age", "kind", "at_ms"),
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

# Whom our own people wrote to, as keyed hashes (adapters/site_key.py): nobody can read addresses out of it.
correspondents = Table(
    "correspondents",
    metadata,
    Column("key", LargeBinary(16), primary_key=True),
    Column("last_ms", BigInteger, nullable=False, index=True),  # to the day
)
