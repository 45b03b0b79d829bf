"""Fixtures that several folders of tests share live in `support`."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Cores are shared with other tests, so no example has a time limit. The same code is tried with the same examples;
# `pytest --hypothesis-profile random` looks for others.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("random", settings.get_profile("shared"), derandomize=False)
settings.load_profile("shared")

if "PYTEST_XDIST_WORKER" in os.environ:  # one test process per core: two with two threads each starve one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["support.databases", "support.ledgers", "support.server"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the browser tests come last: while the browser's driver runs, no other event loop can run on its thread."""
    items.sort(key=lambda item: "e2e" in item.path.parts)
