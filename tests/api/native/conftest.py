"""Fixtures of this folder."""

from support.doors import doors

__all__ = ["doors"]
