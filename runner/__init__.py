"""Declarative experiments on language models. The wiring is in ``runner.run``; start reading there."""

__version__ = "0.1.0"
