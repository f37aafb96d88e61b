"""Prices, budgets, and what is still to come."""
