"""Owns the tables of mail: its record, what became of it, what is held or released.  Must not know who uses them."""

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
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from filterd.storage.tables.base import MessageId, Serial, State, metadata

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
