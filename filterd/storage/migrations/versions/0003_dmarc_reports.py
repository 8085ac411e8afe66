"""What is counted for DMARC aggregate reports, and the queue of the reports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "dmarc_domains",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("policy_domain", sa.String(length=253), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("planned", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", "policy_domain", name=op.f("pk_dmarc_domains")),
    )
    op.create_index("ix_dmarc_domains_planned", "dmarc_domains", ["planned", "day", "policy_domain"], unique=False)
    op.create_table(
        "dmarc_rows",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("policy_domain", sa.String(length=253), nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "key", name=op.f("pk_dmarc_rows")),
    )
    op.create_index("ix_dmarc_rows_domain", "dmarc_rows", ["day", "policy_domain"], unique=False)
    op.create_table(
        "dmarc_reports",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("policy_domain", sa.String(length=253), nullable=False),
        sa.Column("destination", sa.String(length=254), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("last_reply", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dmarc_reports")),
        sa.UniqueConstraint("day", "policy_domain", "destination", name=op.f("uq_dmarc_reports_day")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_dmarc_reports_due", "dmarc_reports", ["state", "next_ms"], unique=False)
    op.create_index(op.f("ix_dmarc_reports_started_ms"), "dmarc_reports", ["started_ms"], unique=False)
