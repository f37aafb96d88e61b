"""Calls to a model: limits, retries, batches, and the ledger that keeps the answers."""
