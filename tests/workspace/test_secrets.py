"""Keys of accounts for other services: sealed, replaced, forgotten."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from keelbill.core.errors import InvalidInput, NotFound
from keelbill.db.base import Database
from keelbill.workspace.models import workspace_secret
from keelbill.workspace.schemas import Account
from keelbill.workspace.secrets import Secrets
from support.identities import SECRET, HandClock

NAME = "image_service"


@pytest.fixture
def secrets(database: Database, clock: HandClock) -> Secrets:
    return Secrets(database, clock, SECRET)


async def test_kept_and_replaced(secrets: Secrets, ada: Account, bob: Account, clock: HandClock) -> None:
    assert await secrets.reveal(ada, NAME) == ""
    await secrets.keep(ada, NAME, "sk-one")
    await secrets.keep(ada, NAME, "sk-two")
    assert await secrets.reveal(ada, NAME) == "sk-two"
    assert await secrets.names(ada) == {NAME: clock.now_ms()}
    assert await secrets.reveal(bob, NAME) == ""
    assert await secrets.names(bob) == {}


async def test_rows_do_not_show_it(secrets: Secrets, ada: Account, database: Database) -> None:
    await secrets.keep(ada, NAME, "sk-hidden")
    row = str(await database.read(lambda c: c.execute(select(workspace_secret)).one()))
    assert "hidden" not in row


async def test_row_that_is_copied_to_another_account_opens_nothing(
    secrets: Secrets, ada: Account, bob: Account, database: Database
) -> None:
    await secrets.keep(ada, NAME, "sk-ada")
    await secrets.keep(bob, NAME, "sk-bob")
    stolen = await database.read(
        lambda c: c.execute(
            select(workspace_secret.c.sealed).where(workspace_secret.c.org_id == ada.org_id)
        ).scalar_one()
    )
    theirs = workspace_secret.c.org_id == bob.org_id
    await database.write(lambda c: c.execute(update(workspace_secret).where(theirs).values(sealed=stolen)).rowcount)
    assert await secrets.reveal(bob, NAME) == ""


async def test_another_server_secret_opens_nothing(
    secrets: Secrets, ada: Account, database: Database, clock: HandClock
) -> None:
    await secrets.keep(ada, NAME, "sk-one")
    assert await Secrets(database, clock, bytes(32)).reveal(ada, NAME) == ""


async def test_forgotten(secrets: Secrets, ada: Account) -> None:
    await secrets.keep(ada, NAME, "sk-one")
    await secrets.forget(ada, NAME)
    assert await secrets.names(ada) == {}
    with pytest.raises(NotFound):
        await secrets.forget(ada, NAME)


@pytest.mark.parametrize("value", ["", "has blank", "line\nbreak", "x" * 513, "ключ"])
async def test_what_is_no_key(secrets: Secrets, ada: Account, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await secrets.keep(ada, NAME, value)
    assert not value or value not in refused.value.message


async def test_unknown_name(secrets: Secrets, ada: Account) -> None:
    with pytest.raises(InvalidInput, match="image_service"):
        await secrets.keep(ada, "other", "sk-one")
