"""The index of near-duplicates: campaigns, their look-up keys, counts by hour and members; the campaign of a report."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables, and the column of reports."""
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.Column("packed_keys", sa.LargeBinary(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("repeated", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("header_from", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
    )
    op.create_index("ix_campaigns_age", "campaigns", ["repeated", "last_ms", "id"], unique=False)
    op.create_table(
        "campaign_keys",
        sa.Column("key", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("campaign", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_campaign_keys")),
    )
    op.create_table(
        "campaign_hours",
        sa.Column("campaign", sa.String(length=64), nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("forwarded", sa.BigInteger(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("campaign", "hour", name=op.f("pk_campaign_hours")),
    )
    op.create_index(op.f("ix_campaign_hours_hour"), "campaign_hours", ["hour"], unique=False)
    op.create_table(
        "campaign_members",
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("campaign", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("like_hour", sa.BigInteger(), nullable=False),
        sa.Column("like_day", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_campaign_members")),
    )
    op.create_index(op.f("ix_campaign_members_at_ms"), "campaign_members", ["at_ms"], unique=False)
    op.create_index("ix_campaign_members_newest", "campaign_members", ["campaign", "at_ms"], unique=False)
    op.add_column("reports", sa.Column("campaign", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_reports_campaign"), "reports", ["campaign"], unique=False)
