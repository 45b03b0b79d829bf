"""Queries of runs. Knows no rules; what clients ask for names the account."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, func, literal, select, update

from keelbill.db.statements import insert_absent
from keelbill.workspace.models import graph_run as run
from keelbill.workspace.schemas import Account, NewRun, Run, RunState

_LIGHT: Final = tuple(
    literal("{}").label(column.name) if column.name in {"prompt", "extra"} else column for column in run.c
)
"""All of a row but what is long."""


def add(connection: Connection, job_id: str, new: NewRun, number: float, now_ms: int) -> bool:
    """Write a run down; return whether its prompt id was free."""
    values = {
        "job_id": job_id,
        "prompt_id": new.prompt_id,
        "org_id": new.account.org_id,
        "user_id": new.account.user_id,
        "number": number,
        "client_id": new.client_id,
        "workflow_id": new.workflow_id,
        "prompt": new.prompt,
        "extra": new.extra,
        "targets": json.dumps(new.targets),
        "wants_previews": int(new.wants_previews),
        "input_refs": " ".join(new.input_refs),
        "state": "open",
        "messages": "[]",
        "results": "{}",
        "created_ms": now_ms,
        "started_ms": 0,
        "finished_ms": 0,
    }
    return insert_absent(connection, run, values)


def has_prompt(connection: Connection, prompt_id: str) -> bool:
    """Return whether any account used a prompt id."""
    return connection.execute(select(run.c.job_id).where(run.c.prompt_id == prompt_id)).first() is not None


def of_job(connection: Connection, job_id: str) -> Run | None:
    """Return the run of a job."""
    row = connection.execute(select(run).where(run.c.job_id == job_id)).one_or_none()
    return None if row is None else _run(row)


def find(connection: Connection, account: Account, prompt_id: str) -> Run | None:
    """Return a run of an account."""
    row = connection.execute(select(run).where(_of(account), run.c.prompt_id == prompt_id)).one_or_none()
    return None if row is None else _run(row)


def open_runs(connection: Connection, account: Account) -> list[Run]:
    """Return the runs of an account that have not ended, in the order of their submission."""
    query = select(run).where(_of(account), run.c.state == "open").order_by(run.c.job_id)
    return [_run(row) for row in connection.execute(query)]


def count_open(connection: Connection, account: Account) -> int:
    """Return how many runs of an account have not ended."""
    query = select(func.count()).select_from(run).where(_of(account), run.c.state == "open")
    return int(connection.execute(query).scalar_one())


def has_any(connection: Connection, account: Account) -> bool:
    """Return whether an account has any run."""
    return connection.execute(select(run.c.job_id).where(_of(account)).limit(1)).first() is not None


def ended(connection: Connection, account: Account, limit: int | None, offset: int, *, newest: bool) -> list[Run]:
    """Return runs of an account that have ended.

    Args:
        connection: Of the transaction.
        account: Whose.
        limit: How many; nothing means all.
        offset: How many are passed over first.
        newest: Whether counting begins with the newest; the result then comes newest first.
    """
    order = run.c.job_id.desc() if newest else run.c.job_id
    query = select(run).where(_of(account), run.c.state != "open").order_by(order).offset(offset).limit(limit)
    return [_run(row) for row in connection.execute(query)]


def listed(connection: Connection, account: Account, workflow_id: str, states: Collection[RunState]) -> list[Run]:
    """Return runs of an account in some states without their graphs, newest first, of one workflow or of all."""
    wanted = _of(account) & run.c.state.in_(states)
    if workflow_id:
        wanted &= run.c.workflow_id == workflow_id
    return [_run(row) for row in connection.execute(select(*_LIGHT).where(wanted).order_by(run.c.job_id.desc()))]


def end(
    connection: Connection,
    job_id: str,
    state: RunState,
    messages: Sequence[tuple[str, dict[str, Any]]],
    results: dict[str, dict[str, Any]],
    started_ms: int,
    now_ms: int,
) -> None:
    """Write down how a run ended; what it read is no longer needed."""
    values = {
        "state": state,
        "messages": json.dumps(list(messages)),
        "results": json.dumps(results),
        "started_ms": started_ms,
        "finished_ms": now_ms,
        "input_refs": "",
    }
    connection.execute(update(run).where(run.c.job_id == job_id, run.c.state == "open").values(**values))


def forget(connection: Connection, account: Account, prompt_ids: Collection[str] | None) -> int:
    """Remove runs that have ended: some, or all of an account."""
    wanted = _of(account) & (run.c.state != "open")
    if prompt_ids is not None:
        wanted &= run.c.prompt_id.in_(prompt_ids)
    return connection.execute(delete(run).where(wanted)).rowcount


def forget_beyond(connection: Connection, account: Account, kept: int) -> None:
    """Remove the oldest runs of an account that have ended, but so many."""
    query = select(run.c.job_id).where(_of(account), run.c.state != "open").order_by(run.c.job_id.desc())
    old = list(connection.execute(query.offset(kept).limit(kept or 1)).scalars())
    if old:
        connection.execute(delete(run).where(run.c.job_id.in_(old)))


def input_refs(connection: Connection) -> set[str]:
    """Return every blob that a run still needs."""
    rows = connection.execute(select(run.c.input_refs).where(run.c.state == "open", run.c.input_refs != "")).scalars()
    return {ref for refs in rows for ref in refs.split()}


def _of(account: Account) -> ColumnElement[bool]:
    return (run.c.org_id == account.org_id) & (run.c.user_id == account.user_id)


def _run(row: Row[Any]) -> Run:
    return Run(
        job_id=row.job_id,
        prompt_id=row.prompt_id,
        account=Account(row.org_id, row.user_id),
        number=int(row.number) if float(row.number).is_integer() else float(row.number),
        client_id=row.client_id,
        workflow_id=row.workflow_id,
        prompt=row.prompt,
        extra=row.extra,
        targets=tuple(json.loads(row.targets)),
        wants_previews=bool(row.wants_previews),
        state=row.state,
        messages=tuple((name, data) for name, data in json.loads(row.messages)),
        results=json.loads(row.results),
        created_ms=row.created_ms,
        started_ms=row.started_ms,
        finished_ms=row.finished_ms,
    )
