"""Owns how Alembic runs our migrations: always on the connection that migrate() gives, inside its transaction."""

from __future__ import annotations

from alembic import context

from filterd.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
)
with context.begin_transaction():
    context.run_migrations()
