"""Declarative experiments on language models. Start reading at ``runner.experiment.run``."""

__version__ = "0.1.0"
