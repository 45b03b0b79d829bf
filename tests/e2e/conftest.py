"""One real browser, and people who sign in with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from keelbill.core.types import Micro, micro
from support.browser import PASSWORD, add_person
from support.browsers import real_browser, window
from support.server import LiveServer

__all__ = ["real_browser"]

Visit = Callable[..., AbstractContextManager[Page]]
_numbers = count()


def sign_in(page: Page, email: str) -> None:
    """Fill in the sign-in page and wait for what comes after."""
    page.goto("/sign-in")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Account menu").wait_for()


@pytest.fixture
def visit(server: LiveServer, real_browser: Browser) -> Visit:
    """Open a window as a new person: ``with visit(credits="100") as page``."""
    server.platform.strangers.limit = 1_000_000

    @contextmanager
    def open_as(*, credits: str = "100", **options: Any) -> Iterator[Page]:  # noqa: A002  the word of the product
        email = f"person{next(_numbers)}@example.org"
        user_id = add_person(server, email, name="Ada")
        give(server, user_id, credits)
        with window(real_browser, server.url, **options) as (page, _):
            sign_in(page, email)
            yield page

    return open_as


def give(server: LiveServer, user_id: str, amount: str) -> None:
    """Set a person's credits to an amount."""
    ledger = server.platform.ledger

    def adjust(connection: Any) -> None:
        rows = connection.exec_driver_sql(f"SELECT org_id FROM membership WHERE user_id = '{user_id}'")  # noqa: S608
        org_id = rows.scalar_one()
        missing = micro(amount) - ledger.balance(connection, org_id).available
        if missing:
            ledger.adjust(connection, org_id, Micro(missing), "test", "set by a test")

    server.write(adjust)
