"""Writes the statements of the first migration from the tables that the code describes. Until the first release only.

Run ``python -m support.migrations`` in ``tests`` after a table has changed; afterwards, changes get revisions of their
own.
"""

from __future__ import annotations

import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import event

from keelbill.db import migrate
from keelbill.db.base import Database, metadata, open_database
from support.databases import serve_postgres

MARK = "\n--;\n"


def statements(database: Database) -> list[str]:
    """Make all tables in an empty database and return what was said to do so."""
    said: list[str] = []

    def listen(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.lstrip().startswith(("CREATE", "INSERT", "ALTER")):
            said.append("\n".join(line.rstrip() for line in statement.strip().splitlines()).replace("\t", "    "))

    event.listen(database.engine, "before_cursor_execute", listen)
    metadata.create_all(database.engine)
    event.remove(database.engine, "before_cursor_execute", listen)
    return in_order(said)


def in_order(said: list[str]) -> list[str]:
    """Sort indexes that follow one another, which come in another order in each process."""
    found: list[str] = []
    for is_index, run in groupby(said, lambda line: line.startswith(("CREATE INDEX", "CREATE UNIQUE INDEX"))):
        some = list(run)
        found += sorted(some) if is_index else some
    return found


def write(database: Database) -> None:
    """Write the file of one database's dialect."""
    path = migrate.FOLDER / "versions" / f"0001_initial.{database.dialect}.sql"
    path.write_text(MARK.join(statements(database)) + "\n", encoding="utf-8")
    database.close_now()


def main() -> None:
    """Write both files."""
    migrate.import_models()
    with tempfile.TemporaryDirectory() as folder:
        write(open_database(f"sqlite:///{Path(folder) / 'empty.db'}"))
    with serve_postgres() as server:
        write(open_database(server.url(server.create(tables=False))))


if __name__ == "__main__":
    main()
