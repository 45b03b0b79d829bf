"""Nodes that show how a pack is written."""
