"""Prices, budgets, usage and forecasts."""
