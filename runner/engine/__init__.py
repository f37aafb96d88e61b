"""Calls: what is asked, how fast, how often, and the ledger that keeps the answers."""
