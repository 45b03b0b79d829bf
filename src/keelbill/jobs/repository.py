"""Queries of jobs, idempotency keys and server processes. Knows no rules.

What runs for every picture is `Prepared`. Every change of a job's state names the state it must be in, so that of two
who want to change it only one can.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.types import BigInteger

from keelbill.db.statements import Prepared
from keelbill.jobs.models import idempotency, job, server_process
from keelbill.jobs.schemas import Job, State

_OPEN: Final = ("queued", "running")

_add: Final = Prepared(insert(job))
_add_key: Final = Prepared(insert(idempotency), unless_there=True)
_claim: Final = Prepared(
    update(job)
    .where(job.c.id == bindparam("job_id"), job.c.state == "queued")
    .values(
        state="running",
        epoch=job.c.epoch + 1,
        owner=bindparam("by"),
        worker=bindparam("on"),
        lease_ms=bindparam("until"),
        started_ms=bindparam("now"),
    )
    .returning(job.c.epoch)
)
_succeed: Final = Prepared(
    update(job)
    .where(job.c.id == bindparam("job_id"), job.c.epoch == bindparam("of"), job.c.state == "running")
    .values(
        state="succeeded",
        result_ref=bindparam("ref"),
        media_type=bindparam("media"),
        width=bindparam("wide"),
        height=bindparam("high"),
        seed=bindparam("chosen"),
        charged_micro=job.c.price_micro,
        model=bindparam("made_by"),
        is_filtered=bindparam("blurred"),
        run_ms=bindparam("took"),
        finished_ms=bindparam("now"),
        image_ref="",
        mask_ref="",
    )
    .returning(*job.c)
)
_charge: Final = Prepared(update(job).where(job.c.id == bindparam("job_id")).values(charged_micro=bindparam("amount")))
_by_id: Final = Prepared(select(*job.c).where(job.c.id == bindparam("job_id")))
_NAMES: Final = tuple(column.name for column in job.c)
_BOOLEANS: Final = ("is_async", "is_keyed", "is_filtered")


def add(connection: Connection, new: Job) -> None:
    """Keep a new job."""
    _add.count(connection, **vars(new))


def add_claimed(connection: Connection, new: Job, epoch: int, worker: str, lease_ms: int, now_ms: int) -> None:
    """Keep a new job that has its worker already: as `add` and `claim`, in one statement."""
    begun = {"state": "running", "epoch": epoch, "worker": worker, "lease_ms": lease_ms, "started_ms": now_ms}
    _add.count(connection, **(vars(new) | begun))


def find(connection: Connection, job_id: str) -> Job | None:
    """Return a job, whoever owns it."""
    row = _by_id.row(connection, job_id=job_id)
    return None if row is None else _from_tuple(row)


def listed(connection: Connection, org_id: str, states: Collection[State], before_id: str, limit: int) -> list[Job]:
    """Return an organisation's jobs, newest first."""
    query = select(job).where(job.c.org_id == org_id)
    if states:
        query = query.where(job.c.state.in_(states))
    if before_id:
        query = query.where(job.c.id < before_id)
    return [_job(row) for row in connection.execute(query.order_by(job.c.id.desc()).limit(limit))]


def claim(connection: Connection, job_id: str, owner: str, worker: str, lease_ms: int, now_ms: int) -> int | None:
    """Turn a queued job into a running one; return its new epoch, or nothing if it is not queued."""
    row = _claim.row(connection, job_id=job_id, by=owner, on=worker, until=lease_ms, now=now_ms)
    return None if row is None else int(row[0])


def renew(connection: Connection, owner: str, job_ids: Collection[str], lease_ms: int) -> dict[str, int]:
    """Extend the leases of a process's running jobs; return the epochs of those that are its own."""
    mine = (job.c.id.in_(job_ids)) & (job.c.state == "running") & (job.c.owner == owner)
    rows = connection.execute(update(job).where(mine).values(lease_ms=lease_ms).returning(job.c.id, job.c.epoch))
    return {row.id: row.epoch for row in rows}


def succeed(
    connection: Connection,
    job_id: str,
    epoch: int,
    *,
    ref: str,
    media_type: str,
    width: int,
    height: int,
    seed: int,
    model: str,
    is_filtered: bool,
    run_ms: float,
    now_ms: int,
) -> Job | None:
    """End a running job of this epoch with its picture; return it as it is now, or nothing if the epoch is stale."""
    row = _succeed.row(
        connection,
        job_id=job_id,
        of=epoch,
        ref=ref,
        media=media_type,
        wide=width,
        high=height,
        chosen=str(seed),
        made_by=model,
        blurred=is_filtered,
        took=run_ms,
        now=now_ms,
    )
    return None if row is None else _from_tuple(row)


def charge(connection: Connection, job_id: str, amount: int) -> None:
    """Note what was taken for a job."""
    _charge.count(connection, job_id=job_id, amount=amount)


def end(
    connection: Connection,
    job_id: str,
    state: State,
    now_ms: int,
    *,
    epoch: int | None = None,
    only: Collection[State] = _OPEN,
    code: str = "",
    message: str = "",
) -> Job | None:
    """End an open job without a picture; return it as it is now, or nothing if it is in another state or epoch."""
    matching = (job.c.id == job_id) & job.c.state.in_(only)
    if epoch is not None:
        matching &= job.c.epoch == epoch
    values = {"state": state, "error_code": code, "error_message": message, "finished_ms": now_ms}
    inputs = {"image_ref": "", "mask_ref": ""}
    row = connection.execute(update(job).where(matching).values(**values, **inputs).returning(job)).one_or_none()
    return None if row is None else _job(row)


def requeue(connection: Connection, job_id: str, epoch: int, owner: str) -> Job | None:
    """Put a running job of this epoch back; return it as it is now, or nothing if it is no longer that."""
    matching = (job.c.id == job_id) & (job.c.epoch == epoch) & (job.c.state == "running")
    values: dict[str, Any] = {"state": "queued", "attempt": job.c.attempt + 1, "owner": owner, "worker": ""}
    row = connection.execute(update(job).where(matching).values(**values).returning(job)).one_or_none()
    return None if row is None else _job(row)


def adopt(connection: Connection, job_id: str, former: str, owner: str) -> bool:
    """Let a process take over a queued job of another; return whether it was still the other's."""
    matching = (job.c.id == job_id) & (job.c.owner == former) & (job.c.state == "queued")
    return connection.execute(update(job).where(matching).values(owner=owner)).rowcount == 1


def open_of_others(connection: Connection, living: Collection[str]) -> list[Job]:
    """Return queued and running jobs of processes that are not among the living, oldest first."""
    left = (job.c.finished_ms == 0) & job.c.state.in_(_OPEN) & job.c.owner.not_in(living)
    return [_job(row) for row in connection.execute(select(job).where(left).order_by(job.c.id))]


def strays(connection: Connection, owner: str, lease_now_ms: int, before_ms: int) -> list[Job]:
    """Return open jobs of a process that should be in its queue or on a worker by now, and may not be."""
    late = (job.c.state == "running") & (job.c.lease_ms <= lease_now_ms)
    waits = (job.c.state == "queued") & (job.c.created_ms < before_ms)
    mine = (job.c.owner == owner) & (job.c.finished_ms == 0) & job.c.state.in_(_OPEN)
    return [_job(row) for row in connection.execute(select(job).where(mine, late | waits))]


def alive(connection: Connection, job_ids: Collection[str], owner: str, now_ms: int) -> set[str]:
    """Return those of some jobs that run under a lease that has not run out, or wait in a living process's queue."""
    leased = (job.c.state == "running") & (job.c.lease_ms > now_ms)
    waits = (job.c.state == "queued") & (job.c.owner == owner)
    rows = connection.execute(select(job.c.id).where(job.c.id.in_(job_ids), leased | waits))
    return set(rows.scalars())


def waiting_of_key(connection: Connection, key_id: str) -> list[str]:
    """Return the waiting jobs of an API key."""
    mine = (job.c.finished_ms == 0) & (job.c.state == "queued") & (job.c.key_id == key_id)
    return list(connection.execute(select(job.c.id).where(mine)).scalars())


def free_filtered_since(connection: Connection, org_id: str, since_ms: int) -> int:
    """Return how many blurred pictures an organisation got for nothing since a time."""
    free = (job.c.org_id == org_id) & job.c.is_filtered.is_(True) & (job.c.charged_micro == 0)
    query = select(func.count()).select_from(job).where(free, job.c.finished_ms >= since_ms)
    return int(connection.execute(query).scalar_one())


def failed_as(connection: Connection, code: str, since_ms: int) -> list[tuple[str, str, int]]:
    """Return organisation, task and time of the jobs that failed with a code since a time."""
    ended = (job.c.task != "") & (job.c.finished_ms > 0) & (job.c.finished_ms >= since_ms)
    query = select(job.c.org_id, job.c.task, job.c.finished_ms).where(ended, job.c.error_code == code)
    return [(row.org_id, row.task, row.finished_ms) for row in connection.execute(query)]


def forget_result(connection: Connection, job_id: str) -> None:
    """Drop what an ended job keeps of its picture and of the words that asked for it."""
    ended = (job.c.id == job_id) & (job.c.finished_ms > 0)
    connection.execute(update(job).where(ended).values(result_ref="", task="", error_message=""))


def forget_results_before(connection: Connection, before_ms: int) -> int:
    """Drop what jobs keep that ended before a time; return how many did."""
    old = (job.c.finished_ms > 0) & (job.c.finished_ms < before_ms) & (job.c.task != "")
    return connection.execute(update(job).where(old).values(result_ref="", task="")).rowcount


def wants_blob(connection: Connection, ref: str) -> bool:
    """Return whether a job needs these bytes, as an input or as its result."""
    mentioned = (job.c.result_ref == ref) | (job.c.image_ref == ref) | (job.c.mask_ref == ref)
    kept = ((job.c.task != "") & (job.c.finished_ms > 0)) | (job.c.finished_ms == 0)
    return connection.execute(select(job.c.id).where(mentioned, kept).limit(1)).first() is not None


def all_refs(connection: Connection) -> set[str]:
    """Return every blob that a job mentions."""
    query = select(job.c.result_ref, job.c.image_ref, job.c.mask_ref)
    kept = ((job.c.task != "") & (job.c.finished_ms > 0)) | (job.c.finished_ms == 0)
    return {ref for row in connection.execute(query.where(kept)) for ref in row if ref}


def add_key(connection: Connection, org_id: str, key: str, fingerprint: str, job_ids: str, now_ms: int) -> bool:
    """Bind an idempotency key to jobs; return whether it was free."""
    return (
        _add_key.count(connection, org_id=org_id, key=key, fingerprint=fingerprint, job_ids=job_ids, created_ms=now_ms)
        == 1
    )


def find_key(connection: Connection, org_id: str, key: str) -> dict[str, Any] | None:
    """Return the row of an idempotency key."""
    query = select(idempotency).where(idempotency.c.org_id == org_id, idempotency.c.key == key)
    row = connection.execute(query).one_or_none()
    return None if row is None else dict(row._mapping)


def drop_key(connection: Connection, org_id: str, key: str, job_ids: str) -> bool:
    """Free an idempotency key if it is still bound to these jobs; return whether it was."""
    bound = (idempotency.c.org_id == org_id) & (idempotency.c.key == key) & (idempotency.c.job_ids == job_ids)
    return connection.execute(delete(idempotency).where(bound)).rowcount == 1


def drop_keys_before(connection: Connection, before_ms: int) -> int:
    """Free idempotency keys that were bound before a time; return how many."""
    return connection.execute(delete(idempotency).where(idempotency.c.created_ms < before_ms)).rowcount


def jobs_by_id(connection: Connection, job_ids: Iterable[str]) -> list[Job]:
    """Return jobs in the order of their ids as given; those that do not exist are left out."""
    found = (find(connection, job_id) for job_id in job_ids)
    return [record for record in found if record is not None]


def seen(connection: Connection, process_id: str, now_ms: int) -> None:
    """Note that a server process lives."""
    changed = update(server_process).where(server_process.c.id == process_id).values(seen_ms=now_ms)
    if connection.execute(changed).rowcount == 0:
        connection.execute(insert(server_process), {"id": process_id, "seen_ms": now_ms})


def living(connection: Connection, since_ms: int) -> set[str]:
    """Return the server processes that were seen since a time, and forget the others."""
    connection.execute(delete(server_process).where(server_process.c.seen_ms < since_ms))
    return set(connection.execute(select(server_process.c.id)).scalars())


def forget_processes(connection: Connection) -> None:
    """Forget every server process."""
    connection.execute(delete(server_process))


def database_ms(connection: Connection) -> int:
    """Return PostgreSQL's own time of day in milliseconds, which all server processes share."""
    epoch: ColumnElement[int] = cast(func.extract("epoch", func.clock_timestamp()) * literal(1000), BigInteger)
    return int(connection.execute(select(epoch)).scalar_one())


def _from_tuple(row: tuple[Any, ...]) -> Job:
    values = dict(zip(_NAMES, row, strict=True))
    for name in _BOOLEANS:  # SQLite's driver has no booleans
        values[name] = bool(values[name])
    return Job(**values)


def _job(row: Row[Any]) -> Job:
    return Job(**row._mapping)
