"""A class of mistakes that cost money elsewhere: reading a sum, changing it in Python and writing it back."""

from __future__ import annotations

import re
from pathlib import Path

import keelbill

SOURCE = Path(keelbill.__file__).parent
SUMS = ("posted", "held", "remaining", "used")
WRITTEN = re.compile(rf"\b({'|'.join(SUMS)})=(?P<value>[^=\n]+)")
TABLES = ("wallet", "budget", "lot", "voucher")
FIRST_VALUES = {"0", "_amount"}


def test_sums_change_by_expressions_only() -> None:
    """Inside ``values(…)`` a sum starts at a constant or is changed from its own column, never from a variable."""
    wrong = []
    for path in SOURCE.glob("ledger/*.py"):
        for statement in re.findall(r"\.values\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", path.read_text("utf-8")):
            for written in WRITTEN.finditer(statement):
                value = written["value"].strip().rstrip(",)").strip()
                is_own = value.startswith(
                    tuple(f"{table}.c.{written[1]}" for table in ("wallet", "budget", "lot", "voucher"))
                )
                if not is_own and value.split(",")[0] not in FIRST_VALUES:
                    wrong.append(f"{path.name}: {written[0]}")
    assert wrong == []


def test_the_check_sees_what_it_is_for() -> None:
    assert WRITTEN.search(".values(posted=new_balance)")


def test_only_the_ledger_writes_money_tables() -> None:
    tables = r"(insert|update|delete)\((wallet|transfer|hold|budget|lot|hold_lot|hold_budget|payment|voucher)\)"
    others = [
        path.relative_to(SOURCE)
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "ledger" and re.search(tables, path.read_text("utf-8"))
    ]
    assert others == []
