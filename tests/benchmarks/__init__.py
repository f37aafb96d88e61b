"""How fast the engine is, as ratios to a bare loop in the same minute: ``python -m tests.benchmarks``."""
