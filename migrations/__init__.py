"""Alembic migrations of the schema in `core.models`; run them with `pajama db upgrade`."""
