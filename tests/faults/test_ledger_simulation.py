"""The ledger in a world of crashes, duplicates and late messages; and proof that the world would notice a mistake."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy import BigInteger, bindparam, or_, select, update

from keelbill.db.statements import Prepared
from keelbill.ledger import budgets, lots, repository
from keelbill.ledger.models import hold, lot, wallet
from support.simulation import Rules, Stage, Violation, World

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "300"))
STEPS = 60

_amount = bindparam("amount", type_=BigInteger)
_resolved = (hold.c.id, hold.c.wallet_id, hold.c.amount, hold.c.is_capped)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def run_all(stage: Stage, seeds: Iterable[int], rules: Rules | None = None) -> None:
    for seed in seeds:
        World(stage, seed, rules).run(STEPS)


def test_fixed_seeds(stage: Stage) -> None:
    run_all(stage, range(SEEDS))


def test_fresh_seeds(stage: Stage) -> None:
    start = secrets.randbelow(2**48)  # a violation names its seed
    run_all(stage, range(start, start + SEEDS))


def test_a_seed_replays(stage: Stage) -> None:
    worlds = [World(stage, 7), World(stage, 7)]
    for world in worlds:
        stage.reset()
        world.run(STEPS)
    assert worlds[0].history == worlds[1].history
    assert worlds[0].memory == worlds[1].memory


def no_state_guard(patch: pytest.MonkeyPatch) -> Rules:
    for name, state in (("CAPTURE_HOLD", "captured"), ("VOID_HOLD", "voided")):
        values = {"state": state, "resolved_ms": bindparam("now")}
        unguarded = update(hold).where(hold.c.job_id == bindparam("job")).values(values).returning(*_resolved)
        patch.setattr(repository, name, Prepared(unguarded))
    return Rules()


def check_then_act(patch: pytest.MonkeyPatch) -> Rules:
    hurried = update(wallet).where(wallet.c.org_id == bindparam("org")).values(held=wallet.c.held + _amount)
    patch.setattr(repository, "RESERVE", Prepared(hurried.returning(wallet.c.id)))
    return Rules()


def capture_without_epoch_check(_: pytest.MonkeyPatch) -> Rules:
    return Rules(epoch_is_checked=False)


def void_after_capture(patch: pytest.MonkeyPatch) -> Rules:
    late = (
        update(hold)
        .where(hold.c.job_id == bindparam("job"), or_(hold.c.state == "held", hold.c.state == "captured"))
        .values(state="voided", resolved_ms=bindparam("now"), reason=bindparam("reason"))
    )
    patch.setattr(repository, "VOID_HOLD", Prepared(late.returning(*_resolved)))
    return Rules()


def sweeper_ignoring_leases(_: pytest.MonkeyPatch) -> Rules:
    return Rules(sweeper_asks_for_leases=False)


def idempotency_insert_after_hold(_: pytest.MonkeyPatch) -> Rules:
    return Rules(key_is_taken_first=False)


def double_webhook(_: pytest.MonkeyPatch) -> Rules:
    return Rules(payments_have_references=False)


def lot_expiry_of_held_credits(patch: pytest.MonkeyPatch) -> Rules:
    greedy = select(lot.c.remaining).where(lot.c.id == bindparam("lot"))
    patch.setattr(lots, "FREE_OF", Prepared(greedy))
    careless = update(lot).where(lot.c.id == bindparam("lot")).values(remaining=lot.c.remaining - _amount)
    patch.setattr(lots, "TAKE", Prepared(careless))
    return Rules()


def budget_not_released(patch: pytest.MonkeyPatch) -> Rules:
    nothing: Callable[..., int] = lambda *_, **__: 0  # noqa: E731
    patch.setattr(budgets.RELEASE, "count", nothing)
    return Rules()


def price_read_at_capture(patch: pytest.MonkeyPatch) -> Rules:
    real = repository.CAPTURE_HOLD

    class Later:
        @staticmethod
        def row(connection: Any, **values: Any) -> Any:
            row = real.row(connection, **values)
            return None if row is None else (row[0], row[1], 2_000_000, row[3])

    patch.setattr(repository, "CAPTURE_HOLD", Later)
    return Rules()


MUTANTS = [
    no_state_guard,
    check_then_act,
    capture_without_epoch_check,
    void_after_capture,
    sweeper_ignoring_leases,
    idempotency_insert_after_hold,
    double_webhook,
    lot_expiry_of_held_credits,
    budget_not_released,
    price_read_at_capture,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mistake_is_noticed(
    mutant: Callable[[pytest.MonkeyPatch], Rules], stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = mutant(monkeypatch)
    with pytest.raises(Violation, match="seed"):
        run_all(stage, range(200), rules)
