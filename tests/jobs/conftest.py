"""Fixtures of this folder."""

from support.jobhouse import house, houses

__all__ = ["house", "houses"]
