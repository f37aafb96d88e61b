"""Runs that are killed and servers that fail: ``python -m tests.faults`` for an hour's worth in minutes."""
