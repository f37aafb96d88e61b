"""The ledger: what was bought, in a database; its writer in the background; claims of those who buy."""

from runner.engine.ledger.table import COMPLETION, Ledger, database_reason

__all__ = ["COMPLETION", "Ledger", "database_reason"]
