"""Fixtures of this folder."""

from support.packs import example, site

__all__ = ["example", "site"]
