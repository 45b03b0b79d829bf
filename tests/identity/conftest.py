"""Identity on both databases."""

from __future__ import annotations

from support.identities import house

__all__ = ["house"]
