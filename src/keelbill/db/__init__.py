"""The database: one way in for SQLite and PostgreSQL. Knows no table's meaning."""
