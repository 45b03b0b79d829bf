"""The ``migrate`` command: brings the database up to date. Knows no table's meaning."""

from __future__ import annotations

import click

from keelbill.core.settings import read_settings
from keelbill.db import migrate
from keelbill.db.base import open_database


@click.command(name="migrate")
@click.option("--check", is_flag=True, help="Only say whether the database is up to date; exit code 1 if it is not.")
def command(check: bool) -> None:
    """Bring the database to the tables that this version needs.

    A server that starts does this by itself; run it first where several servers share one database.
    """
    database = open_database(read_settings().database)
    try:
        before = migrate.revision(database) or "empty"
        if check:
            is_current = migrate.is_current(database)
            click.echo(
                f"revision {before}, " + ("up to date" if is_current else f"this version needs {migrate.newest()}")
            )
            if not is_current:
                raise click.exceptions.Exit(1)
        elif migrate.upgrade(database):
            click.echo(f"revision {before} -> {migrate.newest()}")
        else:
            click.echo(f"revision {before}, nothing to do")
    finally:
        database.close_now()
