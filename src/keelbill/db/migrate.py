"""Brings a database to the tables that this version needs. Knows no table's meaning.

Revisions are files ``NNNN_name.py`` in the ``migrations`` folder, so that the newest is known without loading them.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from keelbill.db.base import Database

if TYPE_CHECKING:
    from alembic.config import Config

DOMAINS = ("identity", "ledger", "jobs", "gallery", "usage", "webhooks", "moderation", "workspace")

FOLDER = Path(str(resources.files(__package__).joinpath("migrations")))


def import_models() -> None:
    """Import the tables of every domain, so that the metadata is whole."""
    for domain in DOMAINS:
        name = f"keelbill.{domain}.models"
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)


def newest() -> str:
    """Return the name of the newest revision; "" if there is none."""
    names = sorted(path.name[:4] for path in (FOLDER / "versions").glob("[0-9]*.py"))
    return names[-1] if names else ""


def revision(database: Database) -> str:
    """Return the revision that a database is at; "" if it has no tables."""
    return database.read_now(_revision)


def is_current(database: Database) -> bool:
    """Whether a database has the tables that this version needs."""
    return revision(database) == newest()


def upgrade(database: Database) -> bool:
    """Bring a database up to date, in one transaction.

    Returns:
        Whether there was anything to do.
    """
    if is_current(database):
        return False
    from alembic import command  # slow to load, and seldom needed

    with database.engine.begin() as connection:
        command.upgrade(config(connection), "head")
    return True


def run_file(connection: Connection, name: str) -> None:
    """Run the statements of ``versions/NAME.DIALECT.sql``; lines of ``--;`` stand between them."""
    path = FOLDER / "versions" / f"{name}.{connection.dialect.name}.sql"
    for statement in path.read_text(encoding="utf-8").split("\n--;\n"):
        connection.exec_driver_sql(statement)


def config(connection: Connection | None = None) -> Config:
    """Return the configuration of the migration tool, for one connection."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")
