"""People, organisations, sessions and API keys. Knows no money and no pictures."""
