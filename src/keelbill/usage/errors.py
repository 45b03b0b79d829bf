"""What can be wrong with a question about usage. Knows no tables."""

from __future__ import annotations

from keelbill.core.errors import InvalidRequest


class BadPeriod(InvalidRequest):
    """The days of a report are malformed, out of order or too many."""
