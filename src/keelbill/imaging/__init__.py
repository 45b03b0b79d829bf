"""Bytes to pixels and back. Knows nothing of models."""
