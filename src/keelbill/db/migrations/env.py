"""Runs revisions on the connection that ``keelbill.db.migrate`` gives. The migration tool loads it by its name."""

from __future__ import annotations

from alembic import context

from keelbill.db.base import metadata
from keelbill.db.migrate import import_models

import_models()
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
