"""The tables of pictures, albums, tags and uploads, and the full-text index. Knows columns, not their use."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnClause,
    Connection,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    literal_column,
)

from keelbill.db.base import metadata

picture = Table(
    "picture",
    metadata,
    # A number of its own, because the full-text index of SQLite and pages of the list both need one that never moves.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("org_id", String(32), nullable=False),
    Column("user_id", String(32), nullable=False),
    Column("job_id", String(32), nullable=False, index=True),  # a graph may make several
    Column("blob_ref", String(64), nullable=False, index=True),
    Column("thumb_ref", String(64), nullable=False),  # "" until somebody looks
    Column("media_type", String(32), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("negative", Text, nullable=False),
    Column("model", String(128), nullable=False),
    Column("requested_model", String(128), nullable=False),
    Column("seed", String(20), nullable=False),  # up to 2**64 - 1, which no integer column holds
    Column("kind", String(16), nullable=False),
    Column("service", String(64), nullable=False),
    Column("recipe", Text, nullable=False),
    Column("filtered", Boolean, nullable=False),
    Column("price_micro", BigInteger, nullable=False),
    Column("favourite", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger, nullable=False),  # 0: it is there
    Column("key_id", String(32), nullable=False),  # "" for a session
)
Index("ix_picture_org_id_number", picture.c.org_id, picture.c.number)
_deleted = picture.c.deleted_ms > 0
Index("ix_picture_deleted", picture.c.deleted_ms, sqlite_where=_deleted, postgresql_where=_deleted)
Index("ix_picture_created_ms", picture.c.created_ms)
# What facets count, so that counting does not read recipes. Its second column must not be one that lists ask for,
# or planners would take it for them and sort.
Index(
    "ix_picture_facets",
    *(picture.c[name] for name in ("org_id", "model", "width", "height", "kind", "key_id", "deleted_ms")),
)
_shown = picture.c.thumb_ref != ""
Index("ix_picture_thumb_ref", picture.c.thumb_ref, sqlite_where=_shown, postgresql_where=_shown)

album = Table(
    "album",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

album_picture = Table(
    "album_picture",
    metadata,
    Column("album_id", String(32), ForeignKey("album.id", ondelete="CASCADE"), primary_key=True),
    Column("picture_id", String(32), ForeignKey("picture.id", ondelete="CASCADE"), primary_key=True, index=True),
)

picture_tag = Table(
    "picture_tag",
    metadata,
    Column("picture_id", String(32), ForeignKey("picture.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", String(64), primary_key=True, index=True),
)

upload = Table(
    "upload",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("blob_ref", String(64), nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("has_alpha", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False, index=True),
)
Index("ix_upload_org_id_created_ms", upload.c.org_id, upload.c.created_ms)

TEXT_VECTOR: Final[ColumnClause[object]] = literal_column("picture.words")
"""What PostgreSQL searches."""

POSTGRESQL_TEXT: Final = (
    "ALTER TABLE picture ADD COLUMN words tsvector "
    "GENERATED ALWAYS AS (to_tsvector('simple', prompt || ' ' || negative)) STORED",
    "CREATE INDEX ix_picture_text ON picture USING gin (words)",
)
"""The words are kept: where the planner walks through pictures by age, taking each prompt apart would cost seconds."""

SQLITE_TEXT: Final = (
    "CREATE VIRTUAL TABLE picture_text USING fts5("
    "prompt, negative, content='picture', content_rowid='number', tokenize='unicode61 remove_diacritics 2')",
    "CREATE TRIGGER picture_text_add AFTER INSERT ON picture BEGIN "
    "INSERT INTO picture_text(rowid, prompt, negative) VALUES (new.number, new.prompt, new.negative); END",
    "CREATE TRIGGER picture_text_remove AFTER DELETE ON picture BEGIN "
    "INSERT INTO picture_text(picture_text, rowid, prompt, negative) "
    "VALUES ('delete', old.number, old.prompt, old.negative); END",
    "CREATE TRIGGER picture_text_change AFTER UPDATE OF prompt, negative ON picture BEGIN "
    "INSERT INTO picture_text(picture_text, rowid, prompt, negative) "
    "VALUES ('delete', old.number, old.prompt, old.negative); "
    "INSERT INTO picture_text(rowid, prompt, negative) VALUES (new.number, new.prompt, new.negative); END",
)
"""What SQLite searches: an FTS5 index that follows the table by triggers. Migrations run these statements too."""


@event.listens_for(picture, "after_create")
def _make_text_index(_: Table, connection: Connection, **__: object) -> None:
    for statement in SQLITE_TEXT if connection.dialect.name == "sqlite" else POSTGRESQL_TEXT:
        connection.exec_driver_sql(statement)


@event.listens_for(picture, "after_drop")
def _drop_text_index(_: Table, connection: Connection, **__: object) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DROP TABLE IF EXISTS picture_text")
