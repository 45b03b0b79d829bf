"""Queries of pictures, albums and tags. Knows no rules; every query of a user's pictures names the organisation."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    Row,
    bindparam,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    table,
    update,
)

from keelbill.core.types import Micro
from keelbill.db.statements import Prepared
from keelbill.gallery.models import TEXT_VECTOR, album, album_picture, picture, picture_tag
from keelbill.gallery.schemas import Album, Filter, NewPicture, Picture

_INSERT: Final = Prepared(  # the number is the database's, and nobody needs it back
    insert(picture).values({c.name: bindparam(c.name) for c in picture.c if c.name != "number"}).inline()
)
_REFS: Final = Prepared(
    select(picture.c.blob_ref, picture.c.thumb_ref).where(
        picture.c.id == bindparam("picture_id"), picture.c.org_id == bindparam("org_id"), picture.c.deleted_ms == 0
    )
)
_LISTED: Final = (*(c for c in picture.c if c.name != "recipe"), literal_column("''").label("recipe"))
_TEXT: Final = table("picture_text", column("rowid", Integer))
_WORD: Final = re.compile(r"\w+")
MAX_WORDS: Final = 16


def add(connection: Connection, new: NewPicture, now_ms: int) -> None:
    """Put a picture into the history."""
    values = {name: value for name, value in vars(new).items() if name not in ("price", "seed")}
    kept = {"favourite": False, "created_ms": now_ms, "deleted_ms": 0}
    _INSERT.count(connection, **values, **kept, price_micro=new.price, seed=str(new.seed))


def find(connection: Connection, org_id: str, picture_id: str) -> Picture | None:
    """Return one picture of an organisation, with its tags."""
    mine = (picture.c.id == picture_id) & (picture.c.org_id == org_id) & (picture.c.deleted_ms == 0)
    row = connection.execute(select(picture).where(mine)).one_or_none()
    return None if row is None else _picture(row, tags_of(connection, picture_id))


def refs(connection: Connection, org_id: str, picture_id: str) -> tuple[str, str] | None:
    """Return where the file and the small form of a picture are; lists ask for hundreds of them."""
    row = _REFS.row(connection, picture_id=picture_id, org_id=org_id)
    return None if row is None else (row[0], row[1])


def find_by_job(connection: Connection, org_id: str, job_id: str) -> Picture | None:
    """Return the first picture that a job of an organisation made."""
    mine = (picture.c.job_id == job_id) & (picture.c.org_id == org_id) & (picture.c.deleted_ms == 0)
    row = connection.execute(select(picture).where(mine).order_by(picture.c.number).limit(1)).one_or_none()
    return None if row is None else _picture(row)


def listed(connection: Connection, org_id: str, wanted: Filter, before_number: int | None, limit: int) -> list[Picture]:
    """Return pictures of an organisation without their recipes, newest first, from before a number."""
    conditions = [picture.c.org_id == org_id, picture.c.deleted_ms == 0, *_conditions(connection, wanted)]
    if before_number is not None:
        conditions.append(picture.c.number < before_number)
    query = select(*_LISTED).where(*conditions).order_by(picture.c.number.desc()).limit(limit)
    return [_picture(row) for row in connection.execute(query)]


def mark(connection: Connection, org_id: str, picture_id: str, favourite: bool) -> bool:
    """Mark a picture as a favourite or not; return whether it exists."""
    return _update(connection, org_id, picture_id, favourite=favourite)


def keep_thumb(connection: Connection, org_id: str, picture_id: str, ref: str) -> bool:
    """Remember where the small form of a picture is; return whether the picture still exists."""
    return _update(connection, org_id, picture_id, thumb_ref=ref)


def mark_all(connection: Connection, picture_ids: Collection[str], favourite: bool) -> None:
    """Mark pictures that were found to be the caller's as favourites or not."""
    connection.execute(update(picture).where(picture.c.id.in_(picture_ids)).values(favourite=favourite))


def find_all(connection: Connection, org_id: str, picture_ids: Collection[str]) -> list[Picture]:
    """Return pictures of an organisation, newest first."""
    mine = picture.c.id.in_(picture_ids) & (picture.c.org_id == org_id) & (picture.c.deleted_ms == 0)
    return [_picture(row) for row in connection.execute(select(picture).where(mine).order_by(picture.c.number.desc()))]


def hide(connection: Connection, org_id: str, picture_id: str, now_ms: int) -> str | None:
    """Take a picture out of the history, with all its words; return its job, or nothing if it does not exist."""
    job_id = connection.execute(
        select(picture.c.job_id).where(
            picture.c.id == picture_id, picture.c.org_id == org_id, picture.c.deleted_ms == 0
        )
    ).scalar_one_or_none()
    if job_id is None:
        return None
    _update(connection, org_id, picture_id, deleted_ms=now_ms, prompt="", negative="", recipe="")
    connection.execute(delete(picture_tag).where(picture_tag.c.picture_id == picture_id))
    connection.execute(delete(album_picture).where(album_picture.c.picture_id == picture_id))
    return str(job_id)


def older_than(connection: Connection, before_ms: int, limit: int) -> list[tuple[str, str]]:
    """Return organisation and id of pictures that were made before a time."""
    query = select(picture.c.org_id, picture.c.id).where(picture.c.created_ms < before_ms, picture.c.deleted_ms == 0)
    return [(row.org_id, row.id) for row in connection.execute(query.limit(limit))]


def hidden(connection: Connection, limit: int) -> list[tuple[str, str, str]]:
    """Return id, blob and thumbnail of pictures that were taken out and still have a row."""
    query = select(picture.c.id, picture.c.blob_ref, picture.c.thumb_ref).where(picture.c.deleted_ms > 0)
    rows = connection.execute(query.order_by(picture.c.deleted_ms).limit(limit))
    return [(row.id, row.blob_ref, row.thumb_ref) for row in rows]


def mentions(connection: Connection, ref: str) -> bool:
    """Return whether a picture of the history needs these bytes."""
    used = ((picture.c.blob_ref == ref) | ((picture.c.thumb_ref == ref) & (picture.c.thumb_ref != ""))) & (
        picture.c.deleted_ms == 0
    )
    return connection.execute(select(picture.c.number).where(used).limit(1)).first() is not None


def refs_of_job(connection: Connection, job_id: str) -> set[str]:
    """Return the blobs of a job's pictures that are still in the history."""
    query = select(picture.c.blob_ref).where(picture.c.job_id == job_id, picture.c.deleted_ms == 0)
    return set(connection.execute(query).scalars())


def all_refs(connection: Connection) -> set[str]:
    """Return every blob that a row mentions."""
    rows = connection.execute(select(picture.c.blob_ref, picture.c.thumb_ref))
    return {ref for row in rows for ref in row if ref}


def drop(connection: Connection, picture_ids: Collection[str]) -> None:
    """Remove the rows of pictures whose bytes are gone."""
    connection.execute(delete(picture).where(picture.c.id.in_(picture_ids), picture.c.deleted_ms > 0))


def tags_of(connection: Connection, picture_id: str) -> tuple[str, ...]:
    """Return the tags of a picture in alphabetical order."""
    query = select(picture_tag.c.tag).where(picture_tag.c.picture_id == picture_id).order_by(picture_tag.c.tag)
    return tuple(connection.execute(query).scalars())


def tags_of_all(connection: Connection, picture_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the tags of some pictures, each in alphabetical order."""
    query = select(picture_tag.c.picture_id, picture_tag.c.tag).where(picture_tag.c.picture_id.in_(picture_ids))
    found: dict[str, list[str]] = {picture_id: [] for picture_id in picture_ids}
    for picture_id, tag in connection.execute(query):
        found[picture_id].append(tag)
    return {picture_id: tuple(sorted(tags)) for picture_id, tags in found.items()}


def set_tags(connection: Connection, picture_id: str, tags: Iterable[str]) -> None:
    """Replace the tags of a picture."""
    connection.execute(delete(picture_tag).where(picture_tag.c.picture_id == picture_id))
    rows = [{"picture_id": picture_id, "tag": tag} for tag in tags]
    if rows:
        connection.execute(insert(picture_tag), rows)


def all_tags(connection: Connection, org_id: str) -> list[tuple[str, int]]:
    """Return an organisation's tags with the number of pictures that carry each."""
    query = (
        select(picture_tag.c.tag, func.count())
        .join(picture, picture.c.id == picture_tag.c.picture_id)
        .where(picture.c.org_id == org_id, picture.c.deleted_ms == 0)
        .group_by(picture_tag.c.tag)
        .order_by(picture_tag.c.tag)
    )
    return [(tag, int(count)) for tag, count in connection.execute(query)]


def add_album(connection: Connection, org_id: str, new: Album) -> bool:
    """Make an album; false if the name is taken."""
    taken = select(album.c.id).where(album.c.org_id == org_id, album.c.name == new.name)
    if connection.execute(taken).first() is not None:
        return False
    values = {"id": new.id, "org_id": org_id, "name": new.name, "created_ms": new.created_ms}
    connection.execute(insert(album), values)
    return True


def albums(connection: Connection, org_id: str) -> list[Album]:
    """Return an organisation's albums by name."""
    held = func.count(album_picture.c.picture_id)
    query = (
        select(album.c.id, album.c.name, held, album.c.created_ms)
        .outerjoin(album_picture, album_picture.c.album_id == album.c.id)
        .where(album.c.org_id == org_id)
        .group_by(album.c.id)
        .order_by(album.c.name)
    )
    return [Album(row[0], row[1], int(row[2]), row[3]) for row in connection.execute(query)]


def rename_album(connection: Connection, org_id: str, album_id: str, name: str) -> None:
    """Give an album another name."""
    connection.execute(update(album).where(album.c.id == album_id, album.c.org_id == org_id).values(name=name))


def remove_album(connection: Connection, org_id: str, album_id: str) -> bool:
    """Remove an album, not its pictures; return whether it existed."""
    if not has_album(connection, org_id, album_id):
        return False
    connection.execute(delete(album_picture).where(album_picture.c.album_id == album_id))
    connection.execute(delete(album).where(album.c.id == album_id))
    return True


def has_album(connection: Connection, org_id: str, album_id: str) -> bool:
    """Return whether an organisation has an album."""
    query = select(album.c.id).where(album.c.id == album_id, album.c.org_id == org_id)
    return connection.execute(query).first() is not None


def own(connection: Connection, org_id: str, picture_ids: Sequence[str]) -> set[str]:
    """Return those of some pictures that belong to an organisation."""
    query = select(picture.c.id).where(
        picture.c.id.in_(picture_ids), picture.c.org_id == org_id, picture.c.deleted_ms == 0
    )
    return set(connection.execute(query).scalars())


def put_into_album(connection: Connection, album_id: str, picture_ids: Collection[str]) -> None:
    """Add pictures to an album; those it holds already stay."""
    query = select(album_picture.c.picture_id).where(
        album_picture.c.album_id == album_id, album_picture.c.picture_id.in_(picture_ids)
    )
    held = set(connection.execute(query).scalars())
    rows = [{"album_id": album_id, "picture_id": picture_id} for picture_id in picture_ids if picture_id not in held]
    if rows:
        connection.execute(insert(album_picture), rows)


def take_from_album(connection: Connection, album_id: str, picture_ids: Collection[str]) -> None:
    """Take pictures out of an album."""
    connection.execute(
        delete(album_picture).where(album_picture.c.album_id == album_id, album_picture.c.picture_id.in_(picture_ids))
    )


def _conditions(connection: Connection, wanted: Filter) -> Iterable[ColumnElement[bool]]:
    columns = picture.c
    words = _WORD.findall(wanted.text)[:MAX_WORDS]
    if words:
        yield _matches(connection.dialect.name, words)
    if wanted.model:
        yield (columns.model == wanted.model) | (columns.requested_model == wanted.model)
    if wanted.kind:
        yield columns.kind == wanted.kind
    if wanted.favourite is not None:
        yield columns.favourite == wanted.favourite
    if wanted.user_id:
        yield columns.user_id == wanted.user_id
    if wanted.size:
        yield (columns.width == wanted.size[0]) & (columns.height == wanted.size[1])
    if wanted.key_id:
        yield columns.key_id == wanted.key_id
    if wanted.source == "graph":
        yield columns.kind == "graph"
    elif wanted.source:
        yield (columns.kind != "graph") & ((columns.key_id == "") == (wanted.source == "studio"))
    if wanted.from_ms is not None:
        yield columns.created_ms >= wanted.from_ms
    if wanted.until_ms is not None:
        yield columns.created_ms < wanted.until_ms
    if wanted.album_id:
        held = select(album_picture.c.picture_id).join(album, album.c.id == album_picture.c.album_id)
        # The album's owner is checked too, so that a stranger's album is merely empty.
        yield columns.id.in_(held.where(album.c.id == wanted.album_id, album.c.org_id == columns.org_id))
    if wanted.tag:
        yield columns.id.in_(select(picture_tag.c.picture_id).where(picture_tag.c.tag == wanted.tag))


def _matches(dialect: str, words: list[str]) -> ColumnElement[bool]:
    """Return the condition that all words occur, the last one perhaps as a beginning."""
    if dialect == "postgresql":
        asked: BindParameter[str] = bindparam("words", " & ".join([*words[:-1], f"{words[-1]}:*"]))
        return TEXT_VECTOR.bool_op("@@")(func.to_tsquery(literal_column("'simple'"), asked))
    asked = bindparam("words", " ".join([*(f'"{word}"' for word in words[:-1]), f'"{words[-1]}"*']))
    return picture.c.number.in_(select(_TEXT.c.rowid).where(literal_column("picture_text").bool_op("MATCH")(asked)))


def _update(connection: Connection, org_id: str, picture_id: str, **values: object) -> bool:
    mine = (picture.c.id == picture_id) & (picture.c.org_id == org_id) & (picture.c.deleted_ms == 0)
    return connection.execute(update(picture).where(mine).values(**values)).rowcount == 1


def _picture(row: Row[Any], tags: tuple[str, ...] = ()) -> Picture:
    values = {**row._mapping}
    del values["deleted_ms"]
    price, seed = Micro(values.pop("price_micro")), int(values.pop("seed"))
    return Picture(**values, price=price, seed=seed, tags=tags)
