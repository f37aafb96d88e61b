"""Mistral's API."""

from runner.providers.mistral.provider import Mistral

__all__ = ["Mistral"]
