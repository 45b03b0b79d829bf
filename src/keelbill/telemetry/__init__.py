"""Metrics, logs and request ids under fixed names. Knows nothing of what it counts."""
