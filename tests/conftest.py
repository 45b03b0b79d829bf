"""Fixtures that several folders of tests share live in `support`."""

from __future__ import annotations

pytest_plugins = ["support.databases", "support.ledgers", "support.server"]
