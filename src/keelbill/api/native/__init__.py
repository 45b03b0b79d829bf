"""The routes of our own API: accounts, keys, organisations, sessions, jobs, gallery. Knows HTTP, no rules."""
