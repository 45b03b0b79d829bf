"""The first tables, as they were: plain statements for each database, in the files beside this one."""

from __future__ import annotations

from alembic import op

from keelbill.db.migrate import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables, with their guards, indexes for search and the system's own rows."""
    run_file(op.get_bind(), "0001_initial")
