"""Whom our own people wrote to, as keyed hashes; which kept messages are for the world; copies with fields of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns."""
    op.create_table(
        "correspondents",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_correspondents")),
    )
    op.create_index(op.f("ix_correspondents_last_ms"), "correspondents", ["last_ms"], unique=False)
    outbound: sa.Column[bool] = sa.Column(
        "outbound", sa.Boolean(create_constraint=False), nullable=False, server_default=sa.false()
    )
    op.add_column("quarantine", outbound)
    op.add_column("quarantine_copies", sa.Column("prepended", sa.LargeBinary(), nullable=True))
