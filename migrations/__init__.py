"""The schema's history: Alembic revisions for SQLite and PostgreSQL, and calls that run them."""
