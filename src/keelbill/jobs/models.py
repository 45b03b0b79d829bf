"""The tables of jobs, of idempotency keys and of living server processes. Knows columns, not what is done with them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text

from keelbill.db.base import metadata

job = Table(
    "job",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("user_id", String(32), nullable=False),
    Column("key_id", String(32), nullable=False),  # "" for a session
    Column("kind", String(16), nullable=False),
    Column("service", String(64), nullable=False),
    Column("front", String(16), nullable=False),
    Column("route", String(128), nullable=False),
    Column("requested_model", String(128), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("client", Text, nullable=False),  # JSON
    Column("task", Text, nullable=False),  # JSON of an ImageTask; "" once nobody may ask for the result any more
    Column("image_ref", String(64), nullable=False),  # inputs, "" if there are none
    Column("mask_ref", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("owner", String(32), nullable=False),  # the server process that queues or runs it
    Column("worker", String(128), nullable=False),
    Column("lease_ms", BigInteger, nullable=False),  # by the clock of leases, not the time of day
    Column("deadline_s", Float, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("cost_ms", Float, nullable=False),
    Column("is_async", Boolean, nullable=False),
    Column("is_keyed", Boolean, nullable=False),  # whether an idempotency key waits for the result
    Column("price_micro", BigInteger, nullable=False),
    Column("charged_micro", BigInteger, nullable=False),
    Column("error_code", String(64), nullable=False),
    Column("error_message", Text, nullable=False),
    Column("result_ref", String(64), nullable=False),
    Column("media_type", String(32), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("seed", String(20), nullable=False),
    Column("model", String(128), nullable=False),
    Column("is_filtered", Boolean, nullable=False),
    Column("run_ms", Float, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger, nullable=False),  # 0: not yet
)
Index("ix_job_org_id_id", job.c.org_id, job.c.id)
_open = job.c.finished_ms == 0
Index("ix_job_open", job.c.state, sqlite_where=_open, postgresql_where=_open)
_kept = (job.c.task != "") & (job.c.finished_ms > 0)
Index("ix_job_kept", job.c.finished_ms, sqlite_where=_kept, postgresql_where=_kept)
_free = (job.c.is_filtered.is_(True)) & (job.c.charged_micro == 0)
Index("ix_job_free", job.c.org_id, job.c.finished_ms, sqlite_where=_free, postgresql_where=_free)

idempotency = Table(
    "idempotency",
    metadata,
    Column("org_id", String(32), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("job_ids", Text, nullable=False),  # separated by spaces; the answer is theirs
    Column("created_ms", BigInteger, nullable=False, index=True),
)

server_process = Table(
    "server_process",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("seen_ms", BigInteger, nullable=False),  # by the clock of leases
)
