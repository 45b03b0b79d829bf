"""Fixtures that several folders of tests share live in `support`."""

from __future__ import annotations

import pytest

pytest_plugins = ["support.databases", "support.ledgers", "support.server"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the browser tests come last: while the browser's driver runs, no other event loop can run on its thread."""
    items.sort(key=lambda item: "e2e" in item.path.parts)
