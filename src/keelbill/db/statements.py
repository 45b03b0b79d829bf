"""Statements that both databases understand, and a short way to run hot ones. Knows no table's meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import CompilerElement

_Choose = Callable[[dict[str, Any]], tuple[Any, ...]]


def insert_absent(connection: Connection, table: Table, values: Mapping[str, object]) -> bool:
    """Insert a row unless one with the same key or unique value is there.

    Returns:
        Whether the row was inserted.
    """
    statement = _absent(connection.dialect.name, table).values(values).execution_options(preserve_rowcount=True)
    return connection.execute(statement).rowcount == 1


def _absent(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


class Prepared:
    """A statement that is compiled once for each database and then goes to the driver directly.

    Running a statement through SQLAlchemy costs about ten times what SQLite needs for it; where a statement runs for
    every picture, that is most of the time. Values are given by the names of the statement's parameters.
    """

    def __init__(self, statement: Executable, *, unless_there: bool = False) -> None:
        self._statement = statement
        self._unless_there = unless_there
        self._compiled: dict[str, tuple[str, _Choose | None, dict[str, Any]]] = {}

    def rows(self, connection: Connection, **values: object) -> list[tuple[Any, ...]]:
        """Run the statement and return all its rows."""
        found: list[tuple[Any, ...]] = self._run(connection, values).fetchall()
        return found

    def row(self, connection: Connection, **values: object) -> tuple[Any, ...] | None:
        """Run the statement and return its first row, if any."""
        found = self._run(connection, values).fetchall()
        return found[0] if found else None

    def count(self, connection: Connection, **values: object) -> int:
        """Run the statement and return how many rows it changed."""
        changed: int = self._run(connection, values).rowcount
        return changed

    def _run(self, connection: Connection, values: dict[str, object]) -> Any:
        compiled = self._compiled.get(connection.dialect.name)
        if compiled is None:
            compiled = self._compiled[connection.dialect.name] = self._compile(connection)
        text, choose, constants = compiled
        given = constants | values if constants else values
        raw: Any = connection.connection.dbapi_connection
        return raw.execute(text, given if choose is None else choose(given))

    def _compile(self, connection: Connection) -> tuple[str, _Choose | None, dict[str, Any]]:
        statement = self._statement
        if not isinstance(statement, CompilerElement):
            raise TypeError(f"{type(statement)} cannot be compiled")
        compiled: Any = statement.compile(dialect=connection.dialect)
        text = str(compiled)
        if self._unless_there:
            text += " ON CONFLICT DO NOTHING"
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        return text, _chooser(compiled.positiontup) if compiled.positional else None, constants


def _chooser(names: Sequence[str]) -> _Choose:
    """Return what puts named values into the order of a statement's parameters."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: tuple(given[name] for name in names)
