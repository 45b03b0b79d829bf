"""Fixtures of the ledger's tests alone."""

from __future__ import annotations

from support.stripedouble import stripe_double

__all__ = ["stripe_double"]
