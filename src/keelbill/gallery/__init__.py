"""Finished pictures with their recipes: history, search, retention. Knows no money."""
