"""Anthropic: messages and batches of them. Its SDK is not needed; tests take its types as the description."""

from runner.providers.anthropic.provider import Anthropic

__all__ = ["Anthropic"]
