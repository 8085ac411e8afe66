"""Safe learning: states of reports, pinned messages, models with their history, shadow flips, notices, users of the add-in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns of reports, and the tables."""
    _reports()
    _models()
    op.create_table(
        "pins",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("report_id", sa.BigInteger(), nullable=True),
        sa.Column("message_id", sa.String(length=64), nullable=True),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("header_from", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pins")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_pins_report_id"), "pins", ["report_id"], unique=False)
    op.create_index(op.f("ix_pins_message_id"), "pins", ["message_id"], unique=False)
    op.create_table(
        "notices",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("recipient", sa.String(length=1000), nullable=False),
        sa.Column("octets", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("last_reply", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notices_due", "notices", ["state", "next_ms"], unique=False)
    reported = sa.text("reason = 'user_report'")
    op.create_index(
        "ix_quarantine_copies_reports",
        "quarantine_copies",
        ["state", "changed_ms"],
        unique=False,
        sqlite_where=reported,
        postgresql_where=reported,
    )
    op.create_table(
        "addin_users",
        sa.Column("user", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user", name=op.f("pk_addin_users")),
    )


def _reports() -> None:
    op.add_column("reports", sa.Column("state", sa.String(length=16), nullable=False, server_default="counting"))
    op.add_column("reports", sa.Column("holds", sa.Text(), nullable=False, server_default="[]"))
    trusted: sa.Column[bool] = sa.Column(
        "trusted", sa.Boolean(create_constraint=False), nullable=False, server_default=sa.false()
    )
    op.add_column("reports", trusted)
    op.add_column("reports", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    op.add_column("reports", sa.Column("decided_ms", sa.BigInteger(), nullable=True))
    op.add_column("reports", sa.Column("decided_by", sa.Text(), nullable=False, server_default=""))
    op.create_index("ix_reports_state", "reports", ["state", "id"], unique=False)
    word = ["state", "label", "trusted", "message_id", "name", "holds"]
    op.create_index("ix_reports_words", "reports", ["reporter", "created_ms", *word, "campaign"], unique=False)
    op.drop_index(op.f("ix_reports_campaign"), table_name="reports")
    op.create_index("ix_reports_campaign", "reports", ["campaign", "reporter", *word], unique=False)
    empty = sa.text("features IS NULL")
    op.create_index("ix_reports_empty", "reports", ["id"], unique=False, sqlite_where=empty, postgresql_where=empty)
    op.execute("UPDATE reports SET state = 'withdrawn' WHERE withdrawn_ms IS NOT NULL")
    # What stood here before came by tokens only.  Without an address of a person it is the token's own word, an administrator's.
    op.execute("UPDATE reports SET trusted = true WHERE reporter NOT LIKE '%@%'")


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("parent", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("shadow", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_table(
        "model_events",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_events")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "shadow_flips",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("would", sa.String(length=32), nullable=False),
        sa.Column("log_odds", sa.Float(), nullable=False),
        sa.Column("would_log_odds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", "message_id", name=op.f("pk_shadow_flips")),
    )
