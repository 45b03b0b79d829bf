"""The tables of files, counters, settings and runs. Knows columns, not what is done with them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text, UniqueConstraint

from keelbill.db.base import metadata

workspace_file = Table(
    "workspace_file",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("user_id", String(32), nullable=False),
    Column("area", String(8), nullable=False),
    Column("folder", String(512), nullable=False),  # "" is the top
    Column("name", String(255), nullable=False),
    Column("blob_ref", String(64), nullable=False, index=True),
    Column("media_type", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("made_by", String(64), nullable=False),  # names the content by what made it; "" is nothing
    Column("job_id", String(32), nullable=False, index=True),  # "" for what people brought
    Column("created_ms", BigInteger, nullable=False),
    Column("modified_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "user_id", "area", "folder", "name"),
)
_temp = workspace_file.c.area == "temp"
Index("ix_workspace_file_made", workspace_file.c.org_id, workspace_file.c.user_id, workspace_file.c.made_by)
Index("ix_workspace_file_temp", workspace_file.c.created_ms, sqlite_where=_temp, postgresql_where=_temp)

workspace_counter = Table(
    "workspace_counter",
    metadata,
    Column("org_id", String(32), primary_key=True),
    Column("user_id", String(32), primary_key=True),
    Column("area", String(8), primary_key=True),
    Column("folder", String(512), primary_key=True),
    Column("prefix", String(255), primary_key=True),
    Column("last", BigInteger, nullable=False),
)

workspace_setting = Table(
    "workspace_setting",
    metadata,
    Column("org_id", String(32), primary_key=True),
    Column("user_id", String(32), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("value", Text, nullable=False),  # JSON
)

workspace_secret = Table(
    "workspace_secret",
    metadata,
    Column("org_id", String(32), primary_key=True),
    Column("user_id", String(32), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

graph_run = Table(
    "graph_run",
    metadata,
    Column("job_id", String(32), primary_key=True),
    Column("prompt_id", String(128), nullable=False, unique=True),
    Column("org_id", String(32), nullable=False),
    Column("user_id", String(32), nullable=False),
    Column("number", Float, nullable=False),
    Column("client_id", String(128), nullable=False),  # "" if nobody watches
    Column("workflow_id", String(128), nullable=False),
    Column("prompt", Text, nullable=False),  # JSON of the graph
    Column("extra", Text, nullable=False),  # JSON of what came with it
    Column("targets", Text, nullable=False),  # JSON of the output nodes' ids
    Column("wants_previews", Integer, nullable=False),
    Column("input_refs", Text, nullable=False),  # blobs that it reads, joined by spaces
    Column("state", String(16), nullable=False),  # open, succeeded, failed, cancelled
    Column("messages", Text, nullable=False),  # JSON
    Column("results", Text, nullable=False),  # JSON of what each output node showed
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger, nullable=False),
)
Index("ix_graph_run_account", graph_run.c.org_id, graph_run.c.user_id, graph_run.c.job_id)
_open = graph_run.c.state == "open"
Index("ix_graph_run_open", graph_run.c.state, sqlite_where=_open, postgresql_where=_open)
