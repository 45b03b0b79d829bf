"""Queries of files, counters and settings. Knows no rules; every query of files names the account."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, or_, select, update

from keelbill.db.statements import insert_absent
from keelbill.workspace.models import workspace_counter as counter
from keelbill.workspace.models import workspace_file as file
from keelbill.workspace.models import workspace_setting as setting
from keelbill.workspace.names import Area, Place
from keelbill.workspace.schemas import Account, StoredFile


def add(connection: Connection, account: Account, new: StoredFile) -> bool:
    """Add a file; return whether its name was free."""
    return insert_absent(connection, file, {"org_id": account.org_id, "user_id": account.user_id, **asdict(new)})


def find(connection: Connection, account: Account, place: Place) -> StoredFile | None:
    """Return the file at a place."""
    row = connection.execute(select(file).where(_at(account, place))).one_or_none()
    return None if row is None else _file(row)


def made_by(connection: Connection, account: Account, area: Area, key: str, job_id: str | None) -> StoredFile | None:
    """Return the newest file with this content, of one job or of any."""
    same = _of(account, area) & (file.c.made_by == key)
    if job_id is not None:
        same &= file.c.job_id == job_id
    query = select(file).where(same).order_by(file.c.created_ms.desc(), file.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _file(row)


def change(connection: Connection, changed: StoredFile) -> None:
    """Write a file's row anew."""
    connection.execute(update(file).where(file.c.id == changed.id).values(**asdict(changed)))


def move(connection: Connection, account: Account, moved: StoredFile, to: Place) -> StoredFile:
    """Give a file another name in the same area; the name must be free."""
    changed = replace(moved, folder=to.folder, name=to.name)
    connection.execute(update(file).where(_at(account, moved.place)).values(folder=changed.folder, name=changed.name))
    return changed


def remove(connection: Connection, account: Account, place: Place) -> bool:
    """Remove a file; return whether it was there."""
    return connection.execute(delete(file).where(_at(account, place))).rowcount == 1


def listed(
    connection: Connection, account: Account, area: Area, folder: str | None = None, *, deep: bool = False
) -> list[StoredFile]:
    """Return files in the order of their paths.

    Args:
        connection: Of the transaction.
        account: Whose.
        area: Which tree.
        folder: Of which folder; nothing means all.
        deep: Whether those of folders inside it are meant too.
    """
    wanted = _of(account, area)
    if folder and deep:
        wanted &= or_(file.c.folder == folder, file.c.folder.startswith(folder + "/", autoescape=True))
    elif folder is not None and not (deep and not folder):
        wanted &= file.c.folder == folder
    return [_file(row) for row in connection.execute(select(file).where(wanted).order_by(file.c.folder, file.c.name))]


def newest(connection: Connection, account: Account, area: Area, limit: int) -> list[StoredFile]:
    """Return the files of an area, newest first."""
    query = select(file).where(_of(account, area)).order_by(file.c.created_ms.desc(), file.c.id.desc()).limit(limit)
    return [_file(row) for row in connection.execute(query)]


def of_job(connection: Connection, job_id: str, area: Area = "output") -> list[StoredFile]:
    """Return the files that a job made, in order."""
    query = select(file).where(file.c.job_id == job_id, file.c.area == area).order_by(file.c.id)
    return [_file(row) for row in connection.execute(query)]


def held(connection: Connection, account: Account) -> tuple[int, int]:
    """Return how many files an account keeps, without temporary ones, and their bytes."""
    mine = (file.c.org_id == account.org_id) & (file.c.user_id == account.user_id) & (file.c.area != "temp")
    row = connection.execute(select(func.count(), func.coalesce(func.sum(file.c.size_bytes), 0)).where(mine)).one()
    return int(row[0]), int(row[1])


def drop(connection: Connection, ids: Collection[str]) -> None:
    """Remove files by their ids."""
    if not ids:
        return
    connection.execute(delete(file).where(file.c.id.in_(ids)))


def temp_before(connection: Connection, before_ms: int, limit: int) -> list[str]:
    """Return ids of temporary files that were made before a time, oldest first."""
    old = (file.c.area == "temp") & (file.c.created_ms < before_ms)
    return list(connection.execute(select(file.c.id).where(old).order_by(file.c.created_ms).limit(limit)).scalars())


def temp_beyond(connection: Connection, account: Account, kept: int) -> list[str]:
    """Return ids of an account's temporary files but the newest ones."""
    query = select(file.c.id).where(_of(account, "temp"))
    query = query.order_by(file.c.created_ms.desc(), file.c.id.desc())
    return list(connection.execute(query).scalars())[kept:]


def mentions(connection: Connection, ref: str) -> bool:
    """Return whether a file has these bytes."""
    return connection.execute(select(file.c.id).where(file.c.blob_ref == ref).limit(1)).first() is not None


def all_refs(connection: Connection) -> set[str]:
    """Return every blob that a file mentions."""
    return set(connection.execute(select(file.c.blob_ref).distinct()).scalars())


def count_on(connection: Connection, account: Account, area: str, folder: str, prefix: str) -> int:
    """Return the next number of a counter, from 1."""
    place = {"area": area, "folder": folder, "prefix": prefix}
    keys = {"org_id": account.org_id, "user_id": account.user_id, **place}
    insert_absent(connection, counter, {**keys, "last": 0})
    mine = [counter.c[name] == value for name, value in keys.items()]
    connection.execute(update(counter).where(*mine).values(last=counter.c.last + 1))
    return int(connection.execute(select(counter.c.last).where(*mine)).scalar_one())


def settings(connection: Connection, account: Account) -> dict[str, str]:
    """Return an account's settings: JSON by name."""
    mine = (setting.c.org_id == account.org_id) & (setting.c.user_id == account.user_id)
    rows = connection.execute(select(setting.c.name, setting.c.value).where(mine).order_by(setting.c.name))
    return {row.name: row.value for row in rows}


def set_settings(connection: Connection, account: Account, values: Mapping[str, str]) -> None:
    """Replace some of an account's settings."""
    mine = (setting.c.org_id == account.org_id) & (setting.c.user_id == account.user_id)
    connection.execute(delete(setting).where(mine, setting.c.name.in_(list(values))))
    rows = [{"org_id": account.org_id, "user_id": account.user_id, "name": n, "value": v} for n, v in values.items()]
    if rows:
        connection.execute(insert(setting), rows)


def of_paths(connection: Connection, account: Account, places: Sequence[Place]) -> dict[Place, StoredFile]:
    """Return those of some places where there is a file."""
    found = ((place, find(connection, account, place)) for place in dict.fromkeys(places))
    return {place: there for place, there in found if there is not None}


def _of(account: Account, area: str) -> ColumnElement[bool]:
    return (file.c.org_id == account.org_id) & (file.c.user_id == account.user_id) & (file.c.area == area)


def _at(account: Account, place: Place) -> ColumnElement[bool]:
    return _of(account, place.area) & (file.c.folder == place.folder) & (file.c.name == place.name)


_NAMES = frozenset(StoredFile.__dataclass_fields__)


def _file(row: Row[Any]) -> StoredFile:
    return StoredFile(**{name: value for name, value in row._mapping.items() if name in _NAMES})
