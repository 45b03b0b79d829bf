"""Fixtures of this folder."""

from support.graphdoors import ada, bob, graphs

__all__ = ["ada", "bob", "graphs"]
